//! stdout of a tool whose reader may go away (`| head`, `| grep -q`): that is no failure, and worth no word.

use std::fmt::Display;
use std::io::{self, Write as _};
use std::panic;
use std::process;

/// How the standard library begins the panic of a `println!` that met a closed pipe.
const CLOSED_PIPE: &str = "failed printing to stdout: Broken pipe";

/// Ends the process well, and without a word, where a line is printed and nobody reads any more. For tools that only tell something.
pub fn end_where_nobody_reads() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let said = panic.payload().downcast_ref::<String>();
        if said.is_some_and(|said| said.starts_with(CLOSED_PIPE)) {
            process::exit(0);
        }
        usual(panic);
    }));
}

/// Prints a line and goes on whether anybody reads it or not, as Java's `System.out` does. For tools that change something: half of it would be worse.
pub fn line(text: impl Display) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}");
}
