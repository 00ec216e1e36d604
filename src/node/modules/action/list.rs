//! What is around the commands of a request, for those that run here and those that run on a host by SSH alike.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::super::json;

#[derive(Deserialize)]
struct RawRequest<'a> {
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
    #[serde(default)]
    logging: Value,
    #[serde(default)]
    instant: Value,
}

/// A request whose commands are not looked at yet.
pub(in super::super::super) struct CommandList<'a> {
    /// What it holds, JSON text as it came; empty for nothing.
    pub content: &'a str,
    /// Whether rows are written.
    pub logging: bool,
    /// Whether results are instant rows.
    pub instant: bool,
}

impl<'a> CommandList<'a> {
    /// Reads the data of a request.
    ///
    /// # Errors
    /// What the row says.
    pub fn read(data: &'a str) -> Result<Self, &'static str> {
        let raw: RawRequest<'a> = serde_json::from_str(data).map_err(|_| "request not well formatted")?;
        Ok(Self {
            content: raw.content.map_or("", RawValue::get),
            logging: !json::is_false(&raw.logging),
            instant: json::is_true(&raw.instant),
        })
    }

    /// The commands, each as JSON text.
    ///
    /// # Errors
    /// What the row says.
    pub fn entries(&self) -> Result<Vec<&'a RawValue>, &'static str> {
        serde_json::from_str(self.content).map_err(|_| match self.content.starts_with('{') {
            // The word is Perl's for what it found.
            true => "expected array, found 'HASH'",
            false => "expected array, found ''",
        })
    }
}
