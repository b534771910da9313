//! What was probably meant by a name that is not there.

/// Edits that a near name may be away.
const EDITS_MAX: usize = 3;

/// Letters of a name for each edit: in a short one every letter counts.
const LETTERS_PER_EDIT: usize = 3;

/// Edits between two words (Levenshtein).
#[must_use]
pub fn distance(a: &str, b: &str) -> usize {
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

/// `; did you mean "X"?` where the name is close to another, else nothing.
pub fn did_you_mean<'a>(name: &str, all: impl IntoIterator<Item = &'a str>) -> String {
    let nearest = all.into_iter().map(|other| (distance(name, other), other)).min();
    nearest
        .filter(|(distance, _)| (1..=EDITS_MAX).contains(distance) && distance * LETTERS_PER_EDIT <= name.len())
        .map_or(String::new(), |(_, other)| format!("; did you mean \"{other}\"?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_near_names_are_proposed() {
        for (name, other, expected) in [
            ("wordsendertset", "wordsendertest", true),
            ("ntt", "nt", true),
            ("zzz", "nt", false),
            ("ptyt", "nt", false),
            ("same", "same", false),
        ] {
            assert_eq!(!did_you_mean(name, [other]).is_empty(), expected, "{name} {other}");
        }
    }

    #[test]
    fn edits_are_counted() {
        for (a, b, expected) in [("", "", 0), ("a", "", 1), ("layout", "layuot", 2), ("wordsender", "wordsendr", 1)] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }
}
