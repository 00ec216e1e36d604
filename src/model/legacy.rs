//! The orders of Centreon Web (docs/protocol.md section 16) as values: what the database says of pollers, what command
//! files hold, and what is remembered between a line and the message that it becomes.

use super::token::Token;

/// The configuration of a poller that orders need. Values are text as the database gives it; `None` for NULL and where
/// the poller has no active row of `cfg_nagios`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PollerCommands {
    /// `nagios_server.id`
    pub id: String,
    /// `nagios_server.uid`, where this version of the schema has it.
    pub uid: Option<String>,
    /// Whether the poller has an active row of `cfg_nagios`.
    pub has_engine: bool,
    /// `cfg_nagios.command_file`: the engine's pipe.
    pub command_file: Option<String>,
    /// `cfg_nagios.cfg_dir`
    pub cfg_dir: Option<String>,
    /// `nagios_server.centreonbroker_cfg_path`
    pub broker_dir: Option<String>,
    /// `nagios_server.snmp_trapd_path_conf`
    pub trap_dir: Option<String>,
    /// `nagios_server.engine_start_command`
    pub engine_start: Option<String>,
    /// `nagios_server.engine_stop_command`
    pub engine_stop: Option<String>,
    /// `nagios_server.engine_restart_command`
    pub engine_restart: Option<String>,
    /// `nagios_server.engine_reload_command`
    pub engine_reload: Option<String>,
    /// `nagios_server.broker_reload_command`
    pub broker_reload: Option<String>,
    /// `nagios_server.init_script_centreontrapd`
    pub trap_service: Option<String>,
}

/// Everything that one reading finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandTables {
    pub pollers: Vec<PollerCommands>,
    /// The option `gorgone_illegal_characters` of the table `options`.
    pub illegal_characters: Option<String>,
}

/// How far a command file was read, so that a crash repeats no line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileMark {
    /// Its path, which ends with `_read`.
    pub path: String,
    /// What tells it from another file of that name.
    pub identity: String,
    /// The bytes that were read and became messages.
    pub offset: u64,
}

/// A message that a line or a call has become and that its node has not confirmed yet. Holds command lines: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredOrder {
    /// Its place among all messages.
    pub sequence: i64,
    pub token: Token,
    /// The id of the node; empty for this daemon.
    pub target: String,
    pub action: String,
    /// The data, JSON text.
    pub data: String,
    /// The order that it is for, for messages to an administrator.
    pub name: String,
}

/// What is remembered of orders and files in the database.
#[derive(Clone, PartialEq, Eq)]
pub enum LegacyChange {
    /// Remember a message until its node has confirmed it.
    PutOrder(StoredOrder),
    /// A message is confirmed, or has ended: by its `sequence`.
    DeleteOrder(i64),
    /// Remember how far the file in hand was read; there is one.
    PutMark(FileMark),
    /// The file in hand is gone.
    DeleteMark,
}

/// What a start takes over of it.
#[derive(Clone, Default)]
pub struct LegacyStored {
    /// Messages that were not confirmed, in their order.
    pub orders: Vec<StoredOrder>,
    /// How far the file in hand was read.
    pub mark: Option<FileMark>,
}

/// Some lines of a command file. Holds command lines: no `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct FilePiece {
    /// The path of the file.
    pub path: String,
    /// What tells it from another file of that name.
    pub identity: String,
    /// Where each line begins, and its bytes without the end of the line.
    pub lines: Vec<(u64, Vec<u8>)>,
    /// Where the next piece begins.
    pub next: u64,
    /// Whether the file has nothing more, and nobody writes to it.
    pub is_whole: bool,
    /// Where lines begin that were left out because they are too long.
    pub too_long: Vec<u64>,
}

/// Work on command files; one piece at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileWork {
    /// Read on: the file in hand, else the next one. With how far the last file was read that is known.
    Read(Option<FileMark>),
    /// The file in hand is done: remove it.
    Remove,
    /// Leave the file in hand, so that it is read again.
    Leave,
}

/// What came of it. Holds command lines: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum FileOutcome {
    /// There is no file, or nothing new in the one in hand, which may be written to for some time yet.
    Nothing {
        /// Whether a file is in hand, so that a look soon is worth it.
        is_waiting: bool,
        /// What an administrator should know; said again with each look.
        complaints: Vec<String>,
    },
    /// Lines.
    Piece(FilePiece),
    /// The file is gone.
    Removed,
    /// The file cannot be removed.
    NotRemoved(String),
}

/// Work for the orders of Centreon Web.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LegacyWork {
    /// Read what the database says of pollers.
    ReadTables,
    /// Read or remove a command file.
    Files(FileWork),
    /// Insert an import task for this task of the central.
    AddImportTask {
        /// `task.parent_id`
        parent_id: u64,
    },
}

/// What came of it. Holds command lines: no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum LegacyDone {
    /// Of [`LegacyWork::ReadTables`].
    Tables(Result<CommandTables, String>),
    /// Of [`LegacyWork::Files`].
    Files(FileOutcome),
    /// Of [`LegacyWork::AddImportTask`].
    ImportTask(Result<(), String>),
}
