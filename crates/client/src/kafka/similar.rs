//! What was probably meant by a name that is not there, as a sentence.

use protocol::spelling;

/// `; did you mean "X"?` where the name is close to another, else nothing.
pub fn did_you_mean<'a>(name: &str, all: impl IntoIterator<Item = &'a str>) -> String {
    spelling::nearest(name, all).map_or(String::new(), |near| format!("; did you mean \"{near}\"?"))
}
