//! The program: all code is in the library; `cli::main` serves as its table of contents.
fn main() -> std::process::ExitCode {
    usnea::cli::main()
}
