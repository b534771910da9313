//! "Did you mean": the known name nearest to a misspelt one. Every part of the program that meets names typed by people guesses by the same rule.

/// Edits that a long name may be away.
const EDITS_MAX: usize = 6;
/// Longer names are not guessed at: the work grows with the product of the lengths.
const LENGTH_MAX: usize = 256;

/// The nearest of `names`: at least one edit away, at most one for every three letters of `name`, at most six.
#[must_use]
pub fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.chars().count() / 3).min(EDITS_MAX);
    if allowed == 0 || name.len() > LENGTH_MAX {
        return None;
    }
    let near = names.into_iter().filter(|known| known.len() <= LENGTH_MAX).map(|known| (edits(name, known), known));
    near.filter(|(edits, _)| (1..=allowed).contains(edits)).min().map(|(_, known)| known)
}

/// Edits between two words (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_names_are_proposed() {
        let check = |name: &str, names: &[&str], expected: Option<&str>| {
            assert_eq!(nearest(name, names.iter().copied()), expected, "{name} {names:?}");
        };
        check("wordsendertset", &["nt", "wordsendertest"], Some("wordsendertest"));
        check("ntt", &["nt"], Some("nt"));
        check("num.partition", &["num.network.threads", "num.partitions"], Some("num.partitions"));
        check("zzz", &["nt"], None);
        check("ptyt", &["nt"], None);
        check("nt", &["mt"], None);
        check("same", &["same"], None);
        check("", &["a"], None);
        check(&"x".repeat(300), &[&"x".repeat(299)], None);
    }

    #[test]
    fn edits_are_counted() {
        for (a, b, expected) in [("", "", 0), ("a", "", 1), ("layout", "layuot", 2), ("wordsender", "wordsendr", 1)] {
            assert_eq!(edits(a, b), expected, "{a} {b}");
        }
    }
}
