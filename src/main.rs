//! The program: everything is in the library, `cli::main` reads as its table of contents.
fn main() -> std::process::ExitCode {
    usnea::cli::main()
}
