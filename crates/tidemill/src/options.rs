//! What the tools' command lines have in common: Java-style long options, unambiguous abbreviations, help on stdout, and what is said of words
//! that make no sense, in the words of the option parser of Kafka's own tools (jopt-simple 5) where it has any.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Parser};
use protocol::spelling;

use crate::failure::Failure;
use crate::tools;

/// Parses a tool's words. `--help` prints the help on stdout and ends well.
///
/// # Errors
/// Exit code 2, with what is wrong and the command that prints the help, where the words make no sense.
pub fn parse<T: Parser>(tool: &'static str, words: &[String]) -> Result<T, Failure> {
    let mut command = T::command().name(tool).bin_name(tool).infer_long_args(true);
    command = command.disable_version_flag(true);
    let line = std::iter::once(tool.to_owned()).chain(words.iter().cloned());
    let parsed = command.try_get_matches_from_mut(line).and_then(|matches| T::from_arg_matches(&matches));
    parsed.map_err(|error| {
        if error.kind() == ErrorKind::DisplayHelp {
            // Printing fails only where nobody reads any more.
            let _ = error.print();
            return Failure::silent(0);
        }
        explain(&error, &command).help(format!("{} --help", tools::typed(tool)))
    })
}

fn explain(error: &clap::Error, command: &Command) -> Failure {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(", "),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    // `--topic <TOPIC>` is what clap calls an option with its value.
    let option = |text: &str| text.split([' ', '=']).next().unwrap_or_default().trim_start_matches('-').to_owned();
    let (argument, value) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue));
    match error.kind() {
        ErrorKind::UnknownArgument if !argument.starts_with('-') => {
            Failure::usage(format!("the word {argument} belongs to no option"))
        }
        ErrorKind::UnknownArgument => {
            let name = option(&argument);
            let failure = Failure::misuse(format!("{name} is not a recognized option"));
            match nearest_option(&name, command) {
                Some(near) => failure.cause(format!("did you mean --{near}?")),
                None => failure,
            }
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            Failure::misuse(format!("Option {} requires an argument", option(&argument)))
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => {
            let failure = Failure::misuse(format!("Cannot parse argument '{value}' of option {}", option(&argument)));
            let allowed = text(ContextKind::ValidValue);
            match std::error::Error::source(error) {
                Some(source) => failure.cause(source),
                None if allowed.is_empty() => failure,
                None => failure.cause(format!("it is one of {allowed}")),
            }
        }
        ErrorKind::MissingRequiredArgument => {
            Failure::misuse(format!("Missing required argument \"[{}]\"", option(&argument)))
        }
        ErrorKind::ArgumentConflict => Failure::misuse(format!(
            "Found multiple arguments for option {}, but you asked for only one",
            option(&argument)
        )),
        // What is left has no words of Kafka's; clap's first line says it, behind its own `error: `.
        _ => {
            let rendered = error.to_string();
            Failure::usage(rendered.lines().next().unwrap_or_default().trim_start_matches("error: "))
        }
    }
}

fn nearest_option(name: &str, command: &Command) -> Option<String> {
    let names: Vec<String> = command
        .get_arguments()
        .flat_map(|argument| {
            let long = argument.get_long().into_iter().map(str::to_owned);
            long.chain(argument.get_visible_aliases().unwrap_or_default().into_iter().map(str::to_owned))
        })
        .collect();
    spelling::nearest(name, names.iter().map(String::as_str)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Options {
        #[arg(long, required = true)]
        topic: String,
        #[arg(long)]
        partitions: Option<i32>,
        #[arg(long, visible_alias = "bootstrap-server")]
        servers: Option<String>,
    }

    fn check(line: &str, expected: &str) {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let failure = parse::<Options>("kafka-topics", &words).map(|_| ()).unwrap_err();
        assert_eq!(failure.to_string(), format!("{expected}\nhelp: bin/kafka-topics.sh --help"), "{line}");
    }

    #[test]
    fn wrong_words_are_told_as_kafkas_tools_tell_them() {
        check("--topic t --partitoins 1", "partitoins is not a recognized option\ncause: did you mean --partitions?");
        check(
            "--topic t --bootstrp-server h",
            "bootstrp-server is not a recognized option\ncause: did you mean --bootstrap-server?",
        );
        check("--topic t --frob", "frob is not a recognized option");
        check("--topic", "Option topic requires an argument");
        check("--partitions 1", "Missing required argument \"[topic]\"");
        check(
            "--topic t --partitions many",
            "Cannot parse argument 'many' of option partitions\ncause: invalid digit found in string",
        );
        check("--topic t u", "error: the word u belongs to no option");
        check("--topic t --topic u", "Found multiple arguments for option topic, but you asked for only one");
    }

    #[test]
    fn options_may_be_cut_short() {
        let words = ["--top", "t", "--part", "3"].map(str::to_owned);
        let options: Options = parse("kafka-topics", &words).unwrap();
        assert_eq!((options.topic.as_str(), options.partitions, options.servers), ("t", Some(3), None));
    }
}
