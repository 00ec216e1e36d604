//! The first word of every message.

macro_rules! actions {
    ($($variant:ident = $word:literal,)*) => {
        /// What a message asks for or answers. Unknown words are kept; their length is limited by that of the message.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum Action {
            $(#[doc = concat!("`", $word, "`")] $variant,)*
            /// Any other word.
            Other(Box<str>),
        }

        impl Action {
            /// Reads a word. Case matters.
            #[must_use]
            pub fn parse(word: &str) -> Self {
                match word {
                    $($word => Self::$variant,)*
                    _ => Self::Other(word.into()),
                }
            }

            /// The word on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)*
                    Self::Other(word) => word,
                }
            }
        }
    };
}

actions! {
    Ack = "ACK",
    ActionEngine = "ACTIONENGINE",
    AddCron = "ADDCRON",
    AddImportTaskWithParent = "ADDIMPORTTASKWITHPARENT",
    AddListener = "ADDLISTENER",
    BroadcastLogger = "BCASTLOGGER",
    BrokerStats = "BROKERSTATS",
    CentreonCommand = "CENTREONCOMMAND",
    CentreonNodesSync = "CENTREONNODESSYNC",
    Command = "COMMAND",
    ConStatus = "CONSTATUS",
    DeleteCron = "DELETECRON",
    EngineCommand = "ENGINECOMMAND",
    EngineStats = "ENGINESTATS",
    ForgetKey = "FORGETKEY",
    GetCron = "GETCRON",
    GetLog = "GETLOG",
    GetThumbprint = "GETTHUMBPRINT",
    Information = "INFORMATION",
    Kill = "KILL",
    LoadModule = "LOADMODULE",
    Ping = "PING",
    Pong = "PONG",
    PongReset = "PONGRESET",
    ProcessCopy = "PROCESSCOPY",
    ProxyAddNode = "PROXYADDNODE",
    ProxyAddSubnode = "PROXYADDSUBNODE",
    ProxyCloseConnection = "PROXYCLOSECONNECTION",
    ProxyDelNode = "PROXYDELNODE",
    ProxyReady = "PROXYREADY",
    ProxyStopReadChannel = "PROXYSTOPREADCHANNEL",
    PutLog = "PUTLOG",
    RegisterNodes = "REGISTERNODES",
    RemoteCopy = "REMOTECOPY",
    Routes = "ROUTES",
    SetCoreId = "SETCOREID",
    SetLogs = "SETLOGS",
    SyncLogs = "SYNCLOGS",
    TrustKey = "TRUSTKEY",
    UnloadModule = "UNLOADMODULE",
    UnregisterNodes = "UNREGISTERNODES",
    UpdateCron = "UPDATECRON",
}

impl Action {
    /// Words that only the original's own processes send to each other and that a network peer may never send
    /// (docs/protocol.md section 5).
    #[must_use]
    pub const fn is_internal(&self) -> bool {
        matches!(
            self,
            Self::ProxyReady
                | Self::ProxyAddNode
                | Self::ProxyDelNode
                | Self::ProxyAddSubnode
                | Self::PongReset
                | Self::ProxyCloseConnection
                | Self::ProxyStopReadChannel
        )
    }
}
