//! Methods by their names: one list serves help, settings and error texts.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use thiserror::Error;

/// Why a method cannot be set up.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum NamedError {
    /// No method of that name.
    #[error("there is no {what} `{name}`; use one of {known}")]
    Unknown {
        /// The family, e.g. `training method`.
        what: &'static str,
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A field that the method has not, or a value that does not fit it.
    #[error("{method}: {cause}")]
    Field {
        /// The method.
        method: String,
        /// The decoder's answer.
        cause: String,
    },
}

/// The method `name` with `fields` over its defaults.
///
/// # Errors
/// [`NamedError::Field`], which names the field even where the decoder does not.
pub fn read<M: DeserializeOwned>(name: &str, fields: Map<String, Value>) -> Result<M, NamedError> {
    let decode = |fields: Map<_, _>| serde_json::from_value::<M>(Value::Object(fields));
    decode(fields.clone()).map_err(|e| {
        // The decoder names a field that it does not know, but not one whose value does not fit.
        let alone = |(field, value)| decode(Map::from_iter([(field, value)])).is_err();
        let culprit = fields.into_iter().find(|f| alone(f.clone())).map(|(field, _)| field);
        let cause = match culprit.filter(|field| !e.to_string().contains(&format!("`{field}`"))) {
            Some(field) => format!("{field}: {e}"),
            None => e.to_string(),
        };
        NamedError::Field { method: name.into(), cause }
    })
}

/// The defaults of a method as JSON.
pub fn defaults<M: Default + Serialize>() -> Value {
    serde_json::to_value(M::default()).unwrap_or_default()
}

/// A text that stands for a value of an enum, by the names that serde knows.
///
/// # Errors
/// A sentence that names the alternatives.
pub fn text<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(Value::from(text)).map_err(|e| e.to_string())
}

/// An enum of methods, each with its name: `NAMES`, `named(name, fields)`, `name()`, and `defaults()`
/// of each come from the one list. A macro of the given name runs an expression on whichever method it is.
///
/// ```
/// use thalweg_core::named;
///
/// #[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
/// #[serde(default, deny_unknown_fields)]
/// struct Fixed {
///     rate: f64,
/// }
/// #[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
/// #[serde(default, deny_unknown_fields)]
/// struct Adaptive {
///     decay: f64,
/// }
///
/// named! {
///     /// Ways to choose a step.
///     #[derive(Clone, Debug)]
///     pub enum Step: "step rule", each_step {
///         "fixed" => Fixed(Fixed),
///         "adaptive" => Adaptive(Adaptive),
///     }
/// }
///
/// let fields = serde_json::json!({ "rate": 0.5 }).as_object().unwrap().clone();
/// let step = Step::named("fixed", fields)?;
/// assert_eq!((step.name(), Step::NAMES.len()), ("fixed", 2));
/// assert!(each_step!(&step, rule => format!("{rule:?}")).contains("0.5"));
/// assert!(Step::named("best", Default::default()).unwrap_err().to_string().contains("fixed, adaptive"));
/// # Ok::<(), thalweg_core::NamedError>(())
/// ```
#[macro_export]
macro_rules! named {
    ($(#[$meta:meta])* $vis:vis enum $Enum:ident: $what:literal, $each:ident { $($entries:tt)* }) => {
        $crate::named!(@enum ($) $(#[$meta])* $vis enum $Enum: $what, $each { $($entries)* });
    };
    (@enum ($d:tt) $(#[$meta:meta])* $vis:vis enum $Enum:ident: $what:literal, $each:ident {
        $($(#[$feature:meta])* $name:literal => $Variant:ident($Method:ty)),* $(,)?
    }) => {
        $(#[$meta])*
        #[derive($crate::__serde::Serialize)]
        #[serde(crate = "thalweg_core::__serde", untagged)]
        $vis enum $Enum {
            $($(#[$feature])* #[doc = concat!("`", $name, "`.")] $Variant($Method),)*
        }

        impl $Enum {
            /// The names that [`Self::named`] takes.
            pub const NAMES: &'static [&'static str] = &[$($(#[$feature])* $name,)*];

            /// The method of that name with `fields` over its defaults; not yet validated.
            ///
            /// # Errors
            /// No such name, no such field, or a value of the wrong kind.
            pub fn named(
                name: &str,
                fields: $crate::__json::Map<String, $crate::__json::Value>,
            ) -> Result<Self, $crate::NamedError> {
                match name {
                    $($(#[$feature])* $name => $crate::named::read(name, fields).map(Self::$Variant),)*
                    _ => Err($crate::NamedError::Unknown {
                        what: $what,
                        name: name.into(),
                        known: Self::NAMES.join(", "),
                    }),
                }
            }

            /// The defaults of the method of that name, as JSON; null if there is none.
            pub fn defaults(name: &str) -> $crate::__json::Value {
                match name {
                    $($(#[$feature])* $name => $crate::named::defaults::<$Method>(),)*
                    _ => $crate::__json::Value::Null,
                }
            }

            /// The name that [`Self::named`] takes.
            pub fn name(&self) -> &'static str {
                match self { $($(#[$feature])* Self::$Variant(_) => $name,)* }
            }
        }

        /// Runs an expression on whichever method it is.
        #[allow(unused_macros, reason = "not every list needs it")]
        macro_rules! $each {
            ($d value:expr, $d method:ident => $d body:expr) => {
                match $d value { $($(#[$feature])* $Enum::$Variant($d method) => $d body,)* }
            };
        }
        #[allow(unused_imports, reason = "not every list needs it")]
        pub(crate) use $each;
    };
}
