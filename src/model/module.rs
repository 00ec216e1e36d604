//! The modules of the original that this version has.

macro_rules! modules {
    ($($variant:ident = $group:literal $name:literal,)*) => {
        /// A module.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Module {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Module {
            /// Every module.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its usual name in a configuration.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Its package, by which a configuration loads it.
            #[must_use]
            pub const fn package(self) -> &'static str {
                match self {
                    $(Self::$variant => concat!("gorgone::modules::", $group, "::", $name, "::hooks"),)*
                }
            }
        }
    };
}

modules! {
    Proxy = "core" "proxy",
    Register = "core" "register",
    Action = "core" "action",
    HttpServer = "core" "httpserver",
    Pull = "core" "pull",
    PullWss = "core" "pullwss",
    DbCleaner = "core" "dbcleaner",
    Cron = "core" "cron",
    Engine = "centreon" "engine",
    Nodes = "centreon" "nodes",
    LegacyCmd = "centreon" "legacycmd",
    Statistics = "centreon" "statistics",
}

impl Module {
    /// The module with this package.
    #[must_use]
    pub fn of_package(package: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|module| module.package() == package)
    }

    /// Whether UNLOADMODULE and LOADMODULE apply to it.
    #[must_use]
    pub const fn can_be_unloaded(self) -> bool {
        matches!(self, Self::Action | Self::DbCleaner | Self::Cron | Self::Engine)
    }
}
