//! Requests for the log, without passwords.

use std::borrow::Cow;

/// Members with secret values.
const SECRETS: [&str; 4] = ["ssh_password", "password", "passphrase", "token_value"];

/// Returns JSON text with `"***"` as the value of each secret member, even if the text is cut or broken.
pub(super) fn without_secrets(json: &str) -> Cow<'_, str> {
    if !SECRETS.iter().any(|name| json.contains(name)) {
        return Cow::Borrowed(json);
    }
    let mut masked = String::with_capacity(json.len());
    let mut rest = json;
    while let Some((before, value)) = next_secret(rest) {
        masked.push_str(before);
        masked.push_str("\"***\"");
        rest = value.get(value_len(value)..).unwrap_or_default();
    }
    masked.push_str(rest);
    Cow::Owned(masked)
}

/// Returns the text up to the value of the first secret, and the text from that value on.
fn next_secret(json: &str) -> Option<(&str, &str)> {
    let ends = SECRETS.iter().flat_map(|name| {
        json.match_indices(*name).filter_map(|(at, _)| {
            let after = json.get(at.checked_add(name.len())?..)?.strip_prefix('"')?;
            let value = after.trim_start().strip_prefix(':')?.trim_start();
            json.len().checked_sub(value.len())
        })
    });
    json.split_at_checked(ends.min()?)
}

/// Returns the length of the JSON value at the start of `text`: a string, or everything up to the next delimiter.
fn value_len(text: &str) -> usize {
    let Some(string) = text.strip_prefix('"') else {
        return text.find([',', '}', ']']).unwrap_or(text.len());
    };
    let mut is_escaped = false;
    for (at, letter) in string.char_indices() {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at.saturating_add(2),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secrets_are_masked_wherever_they_stand() {
        for (json, expected) in [
            (
                r#"{"nodes":[{"id":2,"ssh_password":"s3c\"ret","port":22}]}"#,
                r#"{"nodes":[{"id":2,"ssh_password":"***","port":22}]}"#,
            ),
            (r#"{"ssh_password" : 12345, "a":1}"#, r#"{"ssh_password" : "***", "a":1}"#),
            (r#"{"ssh_password":"cut"#, r#"{"ssh_password":"***""#),
            (r#"[{"password":"a"},{"password":"b"}]"#, r#"[{"password":"***"},{"password":"***"}]"#),
            (r#"{"command":"echo ssh_password"}"#, r#"{"command":"echo ssh_password"}"#),
            (r#"{"a":1}"#, r#"{"a":1}"#),
        ] {
            assert_eq!(without_secrets(json), expected, "{json}");
        }
    }
}
