//! REMOTECOPY to a host without a daemon (docs/protocol.md sections 10 and 12): a file is sent over SFTP and renamed
//! into place, a directory is sent as an archive and unpacked there by `tar`. For a target behind the host both are
//! sent to the host, followed by a relay file.

use crate::model::host_work::HostWork;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::model::code::Code;
use crate::model::copy::{Attributes, CopyKind, SinkId, SinkStep, SourceId};
use crate::model::log::LogLine;
use crate::model::node_id::NodeId;
use crate::model::ssh::{SshCommand, SshEnd, SshExit, SshTask, SshUpload, UploadSource};
use crate::model::token::Token;

use super::{Job, SshHosts, not_connected, relay_file, relay_word};
use crate::node::context::Context;
use crate::node::copies::receiving::{ForHost, Gathered};
use crate::node::copies::request::CopyRequest;
use crate::node::journal::NewRow;
use crate::node::json;
use crate::node::modules::action::shell_words::quoted;
use crate::node::nodes::pathway::Route;
use crate::node::output::Output;

/// Time limit for unpacking.
const UNPACK_PATIENCE: Duration = Duration::from_secs(1_800);
/// Time limit for changing the owner of a file.
const OWNER_PATIENCE: Duration = Duration::from_secs(30);
/// Permissions of a file whose request sets none.
const DEFAULT_MODE: u32 = 0o644;
/// Maximum number of bytes kept of the error output of `tar`.
const OUTPUT_MAX: usize = 4 << 10;

enum Stage {
    Uploading,
    Unpacking,
    Owning,
    Relaying,
}

/// What is done with a copy on a host that is only a relay.
enum Relay {
    /// It stays at its destination, under the name of its source here.
    Keep,
    /// A relay file with this word announces it.
    Tell(String),
}

/// A copy in progress.
pub(super) struct CopyJob {
    pub token: Token,
    pub logging: bool,
    /// The target: the host, or a node behind it.
    pub target: NodeId,
    /// Its place in the order of all copies.
    pub order: SourceId,
    stage: Stage,
    source: String,
    /// The destination file, or the directory in which the archive is unpacked.
    destination: String,
    archive: String,
    /// `owner:group` as `chown` takes it; empty for none.
    owner: String,
    /// For a target behind the host: what is done with the copy there.
    relay: Option<Relay>,
    /// The copy that was received for the host.
    gathered: Option<SinkId>,
    /// Number of bytes on the host: of the file, or of the packed directory.
    received: u64,
}

#[derive(Default, Deserialize)]
struct RawRequest {
    #[serde(default)]
    content: Value,
    #[serde(default)]
    logging: Value,
}

/// Returns `DIRECTORY/.NAME.NUMBER.part` for `DIRECTORY/NAME`.
fn temporary(path: &str, number: u64) -> String {
    match path.rsplit_once('/') {
        Some((directory, name)) => format!("{directory}/.{name}.{number}.part"),
        None => format!(".{path}.{number}.part"),
    }
}

/// Returns `owner:group` for `chown`; empty for none.
fn owner_of(attributes: &Attributes) -> String {
    match (attributes.owner.as_str(), attributes.group.as_str()) {
        ("", "") => String::new(),
        (owner, "") => owner.to_owned(),
        (owner, group) => format!("{owner}:{group}"),
    }
}

fn mode_of(attributes: &Attributes) -> Option<u32> {
    u32::from_str_radix(&attributes.mode, 8).ok().filter(|mode| *mode <= 0o7777)
}

impl SshHosts {
    pub(super) fn copy(
        &mut self,
        context: &mut Context,
        route: Route,
        token: &Token,
        data: &str,
    ) -> Result<(), String> {
        let mut request = CopyRequest::read_whole(data).map_err(|(message, detail)| format!("{message} ({detail})"))?;
        let raw: RawRequest = json::read_object(data, &mut String::new()).unwrap_or_default();
        let number = self.next;
        let spec = request.spec(&route.target.to_string(), number);
        let archive = spec.archive_name.trim_end_matches(&format!(".{number}")).to_owned();
        let relay = (route.through != route.target)
            .then(|| relay_word(raw.content.get("metadata")).map_or(Relay::Keep, Relay::Tell));
        if relay.is_some() {
            // The relay finds it under the name of its source here.
            request.destination.clone_from(&request.source);
        }
        let directory = request.destination.clone();
        request.complete_destination(CopyKind::Regular);
        let cache_dir = spec.cache_dir.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let archive = format!("{cache_dir}/{archive}");
        let (owner, mode) = (owner_of(&spec.attributes), mode_of(&spec.attributes));
        let upload = SshUpload {
            mode,
            temporary: temporary(&request.destination, number),
            destination: request.destination.clone(),
            archive_temporary: temporary(&archive, number),
            archive: archive.clone(),
            source: UploadSource::Local(spec),
        };
        let logging = !json::is_false(&raw.logging);
        if logging {
            context.open_token(token, None);
        }
        let job = CopyJob {
            token: token.clone(),
            logging,
            target: route.target,
            order: context.begin_copy(),
            stage: Stage::Uploading,
            source: request.source,
            destination: directory,
            archive,
            owner,
            relay,
            gathered: None,
            received: 0,
        };
        self.begin(context, route.through, SshTask::Upload(Box::new(upload)), Job::Copy(job));
        Ok(())
    }

    /// Sends `sink`, a completely received PROCESSCOPY. Like the original we put it at its destination on the host,
    /// even for a target behind the host, because a PROCESSCOPY names nothing to be passed on.
    pub(in crate::node) fn send_gathered(&mut self, context: &mut Context, gathered: Gathered) {
        let Gathered { sink, token, logging, for_host } = gathered;
        let ForHost { through, target, order, end: Some((spec, attributes)) } = for_host else { return };
        let number = self.next;
        let destination = spec.destination.display().to_string();
        let cache_dir = spec.cache_dir.as_ref().map(|path| path.display().to_string());
        let archive = format!("{}/copy_{token}", cache_dir.unwrap_or_else(|| "/tmp".to_owned()));
        let upload = SshUpload {
            mode: Some(mode_of(&attributes).unwrap_or(DEFAULT_MODE)),
            temporary: temporary(&destination, number),
            destination: destination.clone(),
            archive_temporary: temporary(&archive, number),
            archive: archive.clone(),
            source: UploadSource::Gathered(sink, spec.kind),
        };
        if logging {
            context.open_token(&token, None);
        }
        if through != target {
            let text = format!("copy {token} for node '{target}' is put on its ssh relay, node '{through}'");
            context.log(LogLine::info("proxy", text).of_node(target).of_token(&token));
        }
        let job = CopyJob {
            token,
            logging,
            target,
            order,
            stage: Stage::Uploading,
            source: String::new(),
            destination,
            archive,
            owner: owner_of(&attributes),
            relay: None,
            gathered: Some(sink),
            received: 0,
        };
        self.begin(context, through, SshTask::Upload(Box::new(upload)), Job::Copy(job));
    }

    pub(super) fn copy_ended(&mut self, context: &mut Context, node: NodeId, mut job: CopyJob, end: SshEnd) {
        if let Some(sink) = job.gathered.take() {
            // The session has the file open, or does not need it any more.
            context.output(Output::Host(HostWork::WriteSink { sink, steps: vec![SinkStep::Discard] }));
        }
        if let SshEnd::Copied(_, received) = end {
            job.received = received;
        }
        match (&job.stage, end) {
            (_, SshEnd::NotConnected(reason)) => {
                if job.logging {
                    context.fail(&job.token, &not_connected(node, &reason));
                }
            }
            (Stage::Uploading, SshEnd::Copied(CopyKind::Archive, _)) => self.unpack(context, node, job),
            (Stage::Uploading, SshEnd::Copied(CopyKind::Regular, _)) if !job.owner.is_empty() => {
                self.own(context, node, job)
            }
            (Stage::Unpacking, SshEnd::Ran(run)) if run.exit != SshExit::Status(0) => {
                let stderr = String::from_utf8_lossy(&run.stderr);
                self.end_copy(context, &job, Code::FINISHED_KO, &format!("untar failed: {}", stderr.trim()));
            }
            (Stage::Owning, SshEnd::Ran(run)) => {
                if run.exit != SshExit::Status(0) {
                    let stderr = String::from_utf8_lossy(&run.stderr);
                    let text = format!("copy {}: chown failed on node '{node}': {}", job.token, stderr.trim());
                    context.log(LogLine::warning("proxy", text).of_node(node));
                }
                self.copied(context, node, job);
            }
            (Stage::Uploading, SshEnd::Copied(..)) | (Stage::Unpacking, SshEnd::Ran(_)) => {
                self.copied(context, node, job)
            }
            (Stage::Relaying, SshEnd::Done) => self.copy_finished(context, &job),
            (_, SshEnd::TimedOut | SshEnd::Silent) => {
                let text = match job.stage {
                    Stage::Unpacking => "untar failed: it took too long",
                    _ => "remote copy failed: it took too long",
                };
                self.end_copy(context, &job, Code::FINISHED_KO, text);
            }
            (_, SshEnd::Failed(reason) | SshEnd::Refused(reason) | SshEnd::SubmittedInPart(_, reason)) => {
                self.end_copy(context, &job, Code::FINISHED_KO, &reason);
            }
            (_, SshEnd::Done | SshEnd::Ran(_) | SshEnd::Copied(..)) => {
                self.end_copy(context, &job, Code::FINISHED_KO, "remote copy failed");
            }
        }
    }

    fn unpack(&mut self, context: &mut Context, node: NodeId, mut job: CopyJob) {
        let (directory, archive) = (quoted(&job.destination), quoted(&job.archive));
        if job.relay.is_some() {
            // The relay unpacks nothing: its target does.
            return self.copied(context, node, job);
        }
        job.stage = Stage::Unpacking;
        let line = format!(
            "mkdir -p -- {directory} && tar -x -z -f {archive} -C {directory}; status=$?; rm -f -- {archive}; exit \
                $status"
        );
        self.run_for_copy(context, node, job, line, UNPACK_PATIENCE);
    }

    fn own(&mut self, context: &mut Context, node: NodeId, mut job: CopyJob) {
        job.stage = Stage::Owning;
        let mut destination = job.destination.clone();
        if destination.ends_with('/') {
            destination.push_str(job.source.trim_end_matches('/').rsplit('/').next().unwrap_or_default());
        }
        let line = format!("chown -- {} {}", quoted(&job.owner), quoted(&destination));
        self.run_for_copy(context, node, job, line, OWNER_PATIENCE);
    }

    fn run_for_copy(&mut self, context: &mut Context, node: NodeId, job: CopyJob, line: String, patience: Duration) {
        let command = SshCommand {
            line,
            timeout: patience,
            timeout_nodata: patience,
            output_limit: OUTPUT_MAX,
            is_urgent: false,
        };
        self.begin(context, node, SshTask::Run(command), Job::Copy(job));
    }

    /// Handles a completely sent copy. A relay still has to be told.
    fn copied(&mut self, context: &mut Context, node: NodeId, mut job: CopyJob) {
        if let Some(Relay::Tell(word)) = &job.relay {
            let work = relay_file(&mut self.next_relay, context.now.wall, word, job.target, None);
            job.stage = Stage::Relaying;
            return self.begin(context, node, work, Job::Copy(job));
        }
        self.copy_finished(context, &job);
    }

    /// The host reports no progress, so the last row does.
    fn copy_finished(&mut self, context: &mut Context, job: &CopyJob) {
        let data = format!("{{\"message\":\"process copy finished successfully\",\"received\":{}}}", job.received);
        self.write(context, job.logging, NewRow::last(&job.token, Code::FINISHED_OK, data));
    }

    fn end_copy(&mut self, context: &mut Context, job: &CopyJob, code: Code, text: &str) {
        self.write(context, job.logging, NewRow::last(&job.token, code, json::message(text)));
    }
}
