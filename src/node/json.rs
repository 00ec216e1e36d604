//! JSON as peers write it: numbers as strings, true as `1`, `"true"` or `true`, absent values as `null`.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

/// Returns a value in which equal numbers are written alike.
pub(super) fn with_plain_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 9e15 => (float as i64).into(),
            _ => Value::Number(number),
        },
        Value::Array(items) => items.into_iter().map(with_plain_numbers).collect(),
        Value::Object(members) => members.into_iter().map(|(name, value)| (name, with_plain_numbers(value))).collect(),
        other => other,
    }
}

/// Returns an object with repeated keys as an object with only the last value of each, as Perl reads it. `None` for
/// anything but an object.
pub(super) fn without_repeats(text: &str) -> Option<String> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
    serde_json::to_string(&members).ok()
}

/// Reads an object. Of a repeated key the last value counts; `single` then holds the object without repeated keys.
pub(super) fn read_object<'a, T: serde::Deserialize<'a>>(text: &'a str, single: &'a mut String) -> Option<T> {
    if let Ok(object) = serde_json::from_str(text) {
        return Some(object);
    }
    *single = without_repeats(text)?;
    serde_json::from_str(single).ok()
}

pub(super) use crate::model::json_text::push_string;

/// Returns `{"message":…}`, the data of most rows and refusals.
pub(super) fn message(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 14);
    out.push_str("{\"message\":");
    push_string(&mut out, text);
    out.push('}');
    out
}

/// Returns `{"action":…,"message":…}`, the data of most core replies.
pub(super) fn action_message(action: &str, text: &str) -> String {
    serde_json::json!({ "action": action, "message": text }).to_string()
}

/// Returns whether `text` is one JSON value. Neither builds it nor recurses.
pub(super) fn is_valid(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

/// Reads a whole number; fractions are cut, and numbers in strings are accepted.
#[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates")]
pub(super) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|float| float as i64)),
        Value::String(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| text.parse::<f64>().ok().filter(|x| x.is_finite()).map(|float| float as i64))
        }
        Value::Bool(truth) => Some(i64::from(*truth)),
        _ => None,
    }
}

/// Reads a finite number; numbers in strings are accepted.
pub(super) fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
    .filter(|float: &f64| float.is_finite())
}

/// Returns whether the original would take `value` for true: anything but `null`, `false`, `0`, `"0"`, `"false"` and an
/// empty string.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(truth) => *truth,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(text.as_str(), "" | "0" | "false"),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// Returns whether `value` is explicitly false: `false`, `0`, `"0"` or `"false"`, but not `null`.
pub(super) fn is_false(value: &Value) -> bool {
    match value {
        Value::Bool(truth) => !*truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => matches!(text.as_str(), "0" | "false"),
        _ => false,
    }
}

/// Returns a string or a number as text; `None` for anything else and for an empty string.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_string_is_escaped_as_serde_json_escapes_it() {
        for text in ["", "plain", "a\"b\\c\nd\re\tf\u{1}g\u{1f}", "é€😀", "\n", "x\u{0}"] {
            let mut out = String::new();
            push_string(&mut out, text);
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn numbers_and_truth_are_read_in_every_spelling_of_peers() {
        for two in [json!(2), json!("2"), json!(2.7), json!(" 2 "), json!("2.7")] {
            assert_eq!(integer(&two), Some(2), "{two}");
        }
        assert_eq!(integer(&json!(null)), None);
        assert_eq!(integer(&json!("x")), None);
        assert_eq!(float(&json!("1.5")), Some(1.5));
        assert_eq!(float(&json!("inf")), None);
        for no in [json!(false), json!(0), json!("0"), json!("false")] {
            assert!(is_false(&no) && !is_true(&no), "{no}");
        }
        assert!(!is_false(&json!(null)) && !is_true(&json!(null)));
    }
}
