use std::path::Path;

use crate::cut::tests;
use crate::{DataError, file};

/// A sequence of characters.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    /// Index into the vocabulary, per character.
    pub tokens: Vec<u32>,
    /// The characters known, ascending.
    pub vocabulary: Vec<char>,
}

impl Text {
    /// The tokens of `text` in this vocabulary.
    ///
    /// # Errors
    /// If a character is not in the vocabulary.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        encode(text, &self.vocabulary)
    }

    /// The characters of `tokens`; U+FFFD stands for a token outside the vocabulary.
    pub fn decode(&self, tokens: &[u32]) -> String {
        let character = |&t: &u32| self.vocabulary.get(t as usize).copied();
        tokens.iter().map(|t| character(t).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    }
}

fn encode(text: &str, vocabulary: &[char]) -> Result<Vec<u32>, DataError> {
    let token = |(at, c)| match vocabulary.binary_search(&c) {
        Ok(token) => Ok(token as u32),
        Err(_) => Err(DataError::Character { character: c, at }),
    };
    text.chars().enumerate().map(token).collect()
}

/// Training and test text, the latter the last `share` (else the last tenth) where it is no file of its own. The
/// vocabulary is that of both.
pub(crate) fn read(train: &Path, test: Option<&Path>, share: Option<f64>) -> Result<(Text, Text), DataError> {
    let first = file::text(train)?;
    let second = test.map(file::text).transpose()?;
    let mut vocabulary: Vec<char> = first.chars().chain(second.iter().flat_map(|s| s.chars())).collect();
    vocabulary.sort_unstable();
    vocabulary.dedup();
    let mut head = encode(&first, &vocabulary)?;
    let tail = match second {
        Some(second) => encode(&second, &vocabulary)?,
        None if head.len() < 2 => return Err(DataError::TooFew { file: train.into() }),
        None => {
            let all = head.len();
            let tests = share.map_or(all - all * 9 / 10, |share| tests(share, all));
            head.split_off(all - tests)
        }
    };
    Ok((Text { tokens: head, vocabulary: vocabulary.clone() }, Text { tokens: tail, vocabulary }))
}
