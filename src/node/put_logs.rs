//! PUTLOG: a row that a client adds to our history (docs/protocol.md section 4). The client is told when the row is
//! stored.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::connection::ClientId;
use crate::model::message::Reply;
use crate::model::token::Token;

use super::context::Context;
use super::journal::{Awaited, NewRow};
use super::json;
use super::output::ReceiptId;
use super::peer::{Handled, Peer};

/// The clients that wait until the row of their PUTLOG is stored.
#[derive(Debug, Default)]
pub(super) struct PutLogs {
    waiting: BTreeMap<ReceiptId, (ClientId, Token)>,
}

#[derive(Deserialize)]
struct PutLog<'a> {
    #[serde(default)]
    code: Value,
    #[serde(default)]
    etime: Value,
    #[serde(default)]
    token: Value,
    #[serde(default)]
    instant: Value,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

impl PutLogs {
    /// Handles PUTLOG.
    pub fn request(&mut self, context: &mut Context, peer: Peer, token: &Token, data: &str) -> Handled {
        let mut single = String::new();
        let Some(put) = json::read_object::<PutLog<'_>>(data, &mut single) else {
            return Handled::not_well_formatted();
        };
        let row = NewRow {
            etime: json::integer(&put.etime),
            instant: json::is_true(&put.instant),
            ..NewRow::foreign(
                json::text(&put.token),
                Code(json::integer(&put.code).unwrap_or(0)),
                put.data.map_or("null", RawValue::get).to_owned(),
            )
        };
        let Some(client) = peer.client() else {
            context.write(row);
            return Handled::Reply(Action::Ack, Code::BEGIN, json::message("message inserted"));
        };
        let Some(receipt) = context.await_receipt(Awaited::PutLog) else {
            return Handled::refused(json::message("database issue"));
        };
        self.waiting.insert(receipt, (client, token.clone()));
        context.write_with(row, None, Some(receipt));
        Handled::Later
    }

    /// Handles the storing of the row of a PUTLOG.
    pub fn stored(&mut self, context: &mut Context, receipt: ReceiptId, stored: bool) {
        let Some((client, token)) = self.waiting.remove(&receipt) else { return };
        let (code, data) = if stored {
            (Code::BEGIN, json::message("message inserted"))
        } else {
            (Code::FINISHED_KO, json::message("database issue"))
        };
        context.reply(client, Reply { kind: Action::Ack, token: Some(token), code, data });
    }
}
