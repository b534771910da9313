//! What the tools' command lines have in common: Java-style long options, unambiguous abbreviations, help on stdout.

use clap::Parser;
use clap::error::ErrorKind;

use crate::failure::Failure;

/// Parses a tool's words. `--help` prints the help on stdout and ends well.
///
/// # Errors
/// Exit code 2 with clap's own explanation where the words make no sense.
pub fn parse<T: Parser>(tool: &'static str, words: &[String]) -> Result<T, Failure> {
    let mut command = T::command().name(tool).bin_name(tool).infer_long_args(true);
    command = command.disable_version_flag(true);
    let line = std::iter::once(tool.to_owned()).chain(words.iter().cloned());
    let parsed = command.try_get_matches_from_mut(line).and_then(|matches| T::from_arg_matches(&matches));
    parsed.map_err(|error| {
        let code = if error.kind() == ErrorKind::DisplayHelp { 0 } else { 2 };
        // Printing fails only where nobody reads any more.
        let _ = error.print();
        Failure::silent(code)
    })
}
