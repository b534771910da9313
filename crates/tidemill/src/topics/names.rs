//! Which names a topic may have (Kafka: `org.apache.kafka.common.internals.Topic`).

/// Longest name: a partition's folder is the name, a dash and a number, and a deleted one a suffix more.
const LENGTH_MAX: usize = 249;
/// Topics that Kafka keeps for itself.
const INTERNAL: &[&str] = &["__consumer_offsets", "__transaction_state"];

/// Whether Kafka keeps this topic for itself.
pub fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// Whether the metrics of this topic could be mistaken for another's.
pub fn could_collide(name: &str) -> bool {
    name.contains(['.', '_'])
}

/// Whether the metrics of two topics are the same.
pub fn collide(a: &str, b: &str) -> bool {
    a != b && a.replace('.', "_") == b.replace('.', "_")
}

/// Why a name is refused, in the words of 0.9's tool; `None` where it is fine.
pub fn refusal(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("topic name is illegal, can't be empty".to_owned());
    }
    if name == "." || name == ".." {
        return Some("topic name cannot be \".\" or \"..\"".to_owned());
    }
    if name.len() > LENGTH_MAX {
        return Some(format!("topic name is illegal, can't be longer than {LENGTH_MAX} characters"));
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !name.chars().all(legal) {
        let why = "is illegal, contains a character other than ASCII alphanumerics, '.', '_' and '-'";
        return Some(format!("topic name {name} {why}"));
    }
    None
}

/// A name much like this one that is fine.
pub fn legal(name: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '-' };
    let mut fitting: String = name.chars().map(fit).take(LENGTH_MAX).collect();
    if matches!(fitting.as_str(), "" | "." | "..") {
        fitting = "wordsendertest".to_owned();
    }
    fitting
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_refused_for_kafkas_reasons() {
        for (name, refused) in [
            ("wordsendertest", false),
            ("a.b_c-D9", false),
            ("", true),
            (".", true),
            ("..", true),
            ("two words", true),
            ("wörter", true),
            (&"x".repeat(249), false),
            (&"x".repeat(250), true),
        ] {
            assert_eq!(refusal(name).is_some(), refused, "{name}");
            assert_eq!(refusal(&legal(name)), None, "{name}");
        }
    }

    #[test]
    fn names_that_differ_in_dot_and_underscore_collide() {
        assert!(collide("a.b", "a_b"));
        assert!(!collide("a.b", "a.b"));
        assert!(!collide("a.b", "a-b"));
    }
}
