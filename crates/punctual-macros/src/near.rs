//! Guessing what a misspelt word was meant to be.

/// The candidate that looks most like the word, where one does.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let score = |candidate: &str| {
        // The one knows beginnings, the other swapped letters.
        strsim::jaro_winkler(word, candidate)
            .max(strsim::normalized_damerau_levenshtein(word, candidate))
    };
    candidates
        .into_iter()
        .map(|candidate| (score(candidate), candidate))
        .filter(|&(score, candidate)| score > if candidate.len() < 5 { 0.65 } else { 0.75 })
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// `a, b and c`.
pub(crate) fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<_> = words.into_iter().collect();
    match words.as_slice() {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}
