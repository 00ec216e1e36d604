//! The `stheno` program: hands the command line to [`stheno::cli`].

fn main() -> std::process::ExitCode {
    stheno::cli::main()
}
