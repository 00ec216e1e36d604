//! What a central answers that stands by: it reads the shared history and shows its own state; all else is for the
//! active one.

use crate::model::api::{ApiAnswer, ApiCall};

use super::Dispatch;

impl Dispatch {
    /// Notes that this central stands by, and who is active, as a sentence.
    pub fn stands_by(&mut self, who: String) {
        self.standby = Some(who);
    }
}

/// Returns the answer to a call that this central must not handle; `None` for one that it may.
pub(super) fn answer(call: &ApiCall, who: &str) -> Option<ApiAnswer> {
    let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
    let refused = |error: &str| {
        let text = serde_json::json!({ "error": error, "message": format!("this central stands by; {who}") });
        Some(ApiAnswer::json(503, text.to_string()))
    };
    match (call.below_api, path.as_slice()) {
        (false, ["readyz"]) => {
            let text = serde_json::json!({ "status": "standby", "message": who });
            Some(ApiAnswer::json(503, text.to_string()))
        }
        (false, _) | (true, ["log", ..] | ["status"]) => None,
        _ => refused("standby"),
    }
}
