//! Which known word an unknown one was meant to be.
//!
//! Pure.

/// The known word that an unknown one was probably meant to be: a letter or a case away, or two in long ones.
pub(in crate::spec) fn nearest<'w>(
    word: &str,
    known: impl Iterator<Item = &'w str>,
) -> Option<&'w str> {
    if word.len() > 64 {
        return None;
    }
    let lower = |text: &str| text.to_lowercase().replace(['-', '_'], "");
    let bound = if word.chars().count() < 5 { 1 } else { 2 };
    known
        .map(|candidate| (distance(&lower(word), &lower(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= bound && candidate.chars().count() > *distance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits that make one word into the other, a swap of neighbours counting once (Damerau 1964, restricted).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut least = (rows[i - 1][j] + 1)
                .min(row[j - 1] + 1)
                .min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_understood() {
        let known = [
            "timeout",
            "to",
            "headers",
            "match",
            "attemptTimeout",
            "stickyBy",
        ];
        let rows = [
            ("timout", Some("timeout")),
            ("tiemout", Some("timeout")),
            ("header", Some("headers")),
            ("mtach", Some("match")),
            ("attempt-timeout", Some("attemptTimeout")),
            ("sticky_by", Some("stickyBy")),
            ("To", Some("to")),
            ("colour", None),
            ("x", None),
        ];
        for (word, expected) in rows {
            assert_eq!(nearest(word, known.into_iter()), expected, "{word}");
        }
    }
}
