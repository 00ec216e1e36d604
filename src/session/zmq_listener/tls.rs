//! Clients over TLS: their handshakes and messages, and how a client is kept from being talked down
//! (docs/protocol.md section 21).

use crate::model::connection::{ClientId, ConnectionId};
use crate::model::link::{LinkKind, LinkMode, pin_of_client};
use crate::model::log::LogLine;
use crate::model::time::Now;
use crate::wire::gorgone::key_exchange::RefusalReason;
use crate::wire::tls_link::{self, Frame, FrameKind, Greeting, Proof, Step, StepResult};

use super::client_session::Protection;
use super::hellos::explain;
use super::{HelloWork, ListenerOutput, MODULE, ZmqListener, show};

impl ZmqListener {
    /// Says how the link of a node may be, if the settings of the node are narrower than those of the listener. Call it
    /// right after `handle_ready`.
    pub fn narrow(&mut self, connection: ConnectionId, link: LinkMode) {
        if let Some(entry) = self.connections.get_mut(&connection) {
            entry.link = link;
        }
    }

    /// Forgets that a client was met sealed.
    pub fn unpin(&mut self, name: &str) {
        self.settings.pinned.remove(name);
    }

    /// How the link of a client is protected.
    #[must_use]
    pub fn link_of(&self, client: ClientId) -> Option<LinkKind> {
        let session = self.sessions.get(&client)?;
        Some(if session.is_classic() { LinkKind::Classic } else { LinkKind::Sealed })
    }

    /// Takes a message of TLS records.
    pub(super) fn handle_records(&mut self, connection: ConnectionId, payload: &[u8], now: Now) {
        let Some(entry) = self.connections.get_mut(&connection) else { return };
        let client = entry.client.filter(|client| self.sessions.get_mut(client).is_some_and(|it| it.tls().is_some()));
        if let Some(client) = client {
            return self.open_records(client, connection, payload, now);
        }
        if let Some(step) = entry.step.take() {
            return self.run_hello(connection, HelloWork::Tls(*step, payload.to_vec()));
        }
        let Some(tls) = self.settings.tls.as_ref().filter(|_| entry.link != LinkMode::Classic) else {
            return self.refuse_hello(connection, "it wants a sealed link, but this end is classic", now);
        };
        let tls = tls.clone();
        if !tls_link::is_handshake(payload) {
            return self.refuse_hello(connection, "it has no sealed link here for what it sent", now);
        }
        if self.admits(connection, now) {
            match Step::server(&tls, now.monotonic) {
                Ok(step) => self.run_hello(connection, HelloWork::Tls(step, payload.to_vec())),
                Err(why) => self.refuse_hello(connection, &why, now),
            }
        }
    }

    fn open_records(&mut self, client: ClientId, connection: ConnectionId, payload: &[u8], now: Now) {
        let Some(session) = self.sessions.get_mut(&client) else { return };
        let shown = show(&session.routing_id);
        let Some(link) = session.tls() else { return };
        let (frames, reply) = match link.open(payload.to_vec()) {
            Ok(opened) => opened,
            Err(why) => {
                session.disconnect();
                let reason = format!("the sealed link of client {shown} is closed: {why}");
                return self.outputs.push_back(ListenerOutput::Close { connection, reason });
            }
        };
        if !reply.is_empty() {
            self.outputs.push_back(ListenerOutput::Send { connection, payload: reply });
        }
        if let Some(entry) = self.connections.get(&connection) {
            self.limits.note_known(entry.peer, now.monotonic);
        }
        self.mark_used(client, false, now);
        for Frame { kind, body } in frames {
            match kind {
                FrameKind::Envelope => self.take_envelope(client, body),
                FrameKind::Greeting | FrameKind::Chunk => {}
            }
        }
    }

    /// Takes the result of a step of a TLS handshake.
    pub(super) fn tls_step_done(&mut self, connection: ConnectionId, result: StepResult, now: Now) {
        match result {
            StepResult::Goes { step, reply } => {
                let Some(entry) = self.connections.get_mut(&connection) else { return };
                entry.step = Some(Box::new(step));
                self.outputs.push_back(ListenerOutput::Send { connection, payload: reply });
            }
            StepResult::Failed(why) => self.refuse_hello(connection, &why, now),
            StepResult::Proved(proof) => self.proved(connection, proof, now),
        }
    }

    fn proved(&mut self, connection: ConnectionId, proof: Proof, now: Now) {
        let Proof { mut link, thumbprint, frames, mut reply } = proof;
        let Some(entry) = self.connections.get(&connection) else { return };
        if !self.hellos.authorizes(&thumbprint) {
            return self.refuse_hello(connection, &explain(&RefusalReason::Unauthorized, Some(&thumbprint)), now);
        }
        // The routing id was said in clear, so the client repeats it here.
        let [Frame { kind: FrameKind::Greeting, body }] = frames.as_slice() else {
            return self.refuse_hello(connection, "it did not say who it is", now);
        };
        if Greeting::parse(body).and_then(|greeting| greeting.routing_id()).as_deref() != Some(&*entry.routing_id) {
            let why = format!("its routing id was changed on the way (key {thumbprint}): somebody is in between");
            return self.refuse_hello(connection, &why, now);
        }
        match link.seal(FrameKind::Greeting, &[&Greeting::of_server(&self.hostname).encode()]) {
            Ok(greeting) => reply.extend_from_slice(&greeting),
            Err(why) => return self.refuse_hello(connection, &why, now),
        }
        let name = name_of(&show(&entry.routing_id)).to_owned();
        if self.open_session(connection, &thumbprint, Protection::tls(link), reply, now) {
            self.settings.pinned.insert(name.clone(), thumbprint.clone());
            self.outputs.push_back(ListenerOutput::Pin { name, thumbprint });
        }
    }

    /// Whether a client that asks for a classic session has to be sealed; if so, it is refused.
    pub(super) fn refuses_classic(&mut self, connection: ConnectionId, now: Now) -> bool {
        let is_sealed = self.connections.get(&connection).is_some_and(|entry| entry.link == LinkMode::Sealed);
        if is_sealed {
            let why = "it wants a classic link, but link: sealed is set here; set link: auto or sealed there (a Perl \
                       daemon needs link: classic or auto here)";
            self.refuse_hello(connection, why, now);
        }
        is_sealed
    }

    /// Whether a client was met sealed and now asks for less, which this end does not ask for. The name counts beside
    /// the key, because several daemons may share a key, and not all of them may be ours.
    pub(super) fn is_talked_down(&self, connection: ConnectionId, thumbprint: &str) -> bool {
        let Some(entry) = self.connections.get(&connection) else { return false };
        let known = self.settings.pinned.get(name_of(&show(&entry.routing_id)));
        entry.link != LinkMode::Classic && known.is_some_and(|known| self.settings.successors.leads(known, thumbprint))
    }

    pub(super) fn refuse_talked_down(&mut self, connection: ConnectionId, thumbprint: &str, now: Now) {
        self.refuse(connection);
        let Some(entry) = self.connections.get(&connection) else { return };
        let (peer, shown) = (entry.peer, show(&entry.routing_id));
        let name = name_of(&shown);
        let remedy = match name.strip_prefix("gorgone-").filter(|id| id.bytes().all(|byte| byte.is_ascii_digit())) {
            Some(node) => format!("run 'stheno keys forget --config FILE {node}'"),
            None => format!(
                "run DELETE FROM gorgone_target_fingerprint WHERE target='{}' on the database of gorgone_db_name and \
                 restart this daemon",
                pin_of_client(name)
            ),
        };
        let text = format!(
            "client {shown} from {peer} is refused: its key {thumbprint} was met sealed and now asks for a classic \
             link; somebody may be in between. If it went back to that on purpose, {remedy}"
        );
        self.log_of(peer, now, |more| LogLine::warning(MODULE, format!("{text}{more}")));
    }

    /// A client gives up, because it and we are set to different links.
    pub(super) fn note_demand(&mut self, connection: ConnectionId, demand: LinkMode, now: Now) {
        let Some(entry) = self.connections.get(&connection) else { return };
        let ours = entry.link;
        let why =
            format!("it is set to link: {demand}, but link: {ours} is set here; make one of them auto, or both equal");
        self.refuse_hello(connection, &why, now);
    }
}

/// A routing id without the random suffix of a session.
fn name_of(routing_id: &str) -> &str {
    match routing_id.rsplit_once('-') {
        Some((name, suffix)) if suffix.len() == 24 && suffix.bytes().all(|byte| byte.is_ascii_hexdigit()) => name,
        _ => routing_id,
    }
}
