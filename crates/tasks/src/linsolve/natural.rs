//! The order of numbered files.

/// Sorts a2 before a10: runs of digits count by their value.
pub fn natural(name: &str) -> Vec<(u64, String)> {
    let (mut key, mut rest) = (Vec::new(), name);
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(text);
        let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (number, tail) = tail.split_at(digits);
        key.push((number.parse().unwrap_or(0), word.to_owned()));
        rest = tail;
    }
    // Words come first, then numbers.
    key.into_iter().flat_map(|(n, w)| [(0, w), (n, String::new())]).collect()
}
