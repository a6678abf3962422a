//! Choices by name: one list serves reading, writing and error texts.

/// Reads and writes the values of a type by the names in its `ALL`.
macro_rules! choice {
    ($type:ty, $what:literal) => {
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let name = Self::ALL.iter().find(|(_, value)| value == self).map_or("", |(name, _)| name);
                f.write_str(name)
            }
        }

        impl std::str::FromStr for $type {
            type Err = $crate::DataError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let named = Self::ALL.iter().find(|(name, _)| *name == text);
                named.map(|(_, value)| *value).ok_or_else(|| $crate::DataError::Choice {
                    what: $what,
                    given: text.into(),
                    known: Self::ALL.map(|(name, _)| name).join(", "),
                })
            }
        }
    };
}

pub(crate) use choice;
