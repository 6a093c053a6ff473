//! Suggestions for misspelt words.

/// Returns the word that is most similar to `text`, if one is as similar as clap's suggestions.
pub fn most_similar<'a>(text: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_lowercase();
    let similar = words.map(|word| (strsim::jaro(&text, word), word)).filter(|&(similarity, _)| similarity > 0.7);
    similar.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, word)| word)
}
