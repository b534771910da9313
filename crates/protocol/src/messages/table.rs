//! The macro that turns a table of fields into a message: its structures, defaults, decoder and encoder for all versions.
//!
//! A table reads like this:
//!
//! ```text
//! messages! {
//!     api Heartbeat: HeartbeatRequest => HeartbeatResponse, versions 0..=4, flexible 4..;
//!
//!     /// What the structure is for.
//!     struct HeartbeatRequest {
//!         group_id: Str, versions 0..;
//!         group_instance_id: Option<Str> = None, versions 3..;
//!     }
//!     ...
//! }
//! ```
//!
//! A field line is: name, type, `= default` where it is not the type's own, then the versions that carry it:
//! - `versions R`: in other versions the field must have its default, or encoding fails;
//! - `ignorable R`: in other versions the value is dropped without a word;
//! - `, tag N`: it is tagged field N of the flexible versions in R (tags rise from line to line), and is left out while it has its default;
//! - `, nullable R`: null is allowed in versions R only. Without it an `Option` may be null wherever the field exists.
//!
//! Versions are those of the whole API, also in nested structures; the `api` line says which two structures are the request and the response.
//! `flexible NEVER..` marks an API without flexible versions. `embedded, versions ..., flexible ...;` in place of the `api` line makes structures that
//! travel inside another message's bytes.

/// A first flexible version that no version reaches.
pub(crate) const NEVER: i16 = i16::MAX;

macro_rules! messages {
    (
        api $key:ident: $request:ident => $response:ident, versions $versions:expr, flexible $flexible:expr;
        $($structures:tt)*
    ) => {
        impl $crate::messages::Request for $request {
            const KEY: $crate::api::ApiKey = $crate::api::ApiKey::$key;
            const VERSIONS: std::ops::RangeInclusive<i16> = $versions;
            const FLEXIBLE_FROM: i16 = ($flexible).start;
            type Response = $response;
        }

        $crate::messages::table::messages! {
            embedded, versions $versions, flexible $flexible;
            $($structures)*
        }
    };
    (
        embedded, versions $versions:expr, flexible $flexible:expr;
        $(
            $(#[$struct_meta:meta])*
            struct $name:ident {
                $(
                    $(#[$field_meta:meta])*
                    $field:ident: $type:ty $(= $default:expr)?,
                    $presence:ident $range:expr
                    $(, tag $tag:literal)?
                    $(, nullable $nullable:expr)?;
                )*
            }
        )*
    ) => {
        $(
            $(#[$struct_meta])*
            #[derive(Debug, Clone, PartialEq)]
            pub struct $name {
                $($(#[$field_meta])* pub $field: $type,)*
            }

            impl Default for $name {
                fn default() -> $name {
                    $name { $($field: $crate::messages::table::default_of!($($default)?),)* }
                }
            }

            impl $crate::messages::Message for $name {
                const NAME: &'static str = stringify!($name);

                fn decode(
                    reader: &mut $crate::wire::Reader,
                    version: i16,
                ) -> Result<$name, $crate::wire::WireError> {
                    if !($versions).contains(&version) {
                        return Err($crate::wire::WireError::UnsupportedVersion { message: Self::NAME, version });
                    }
                    $crate::wire::Field::read(reader, version, ($flexible).contains(&version))
                }

                fn encode(
                    &self,
                    writer: &mut $crate::wire::Writer,
                    version: i16,
                ) -> Result<(), $crate::wire::WireError> {
                    if !($versions).contains(&version) {
                        return Err($crate::wire::WireError::UnsupportedVersion { message: Self::NAME, version });
                    }
                    $crate::wire::Field::write(self, writer, version, ($flexible).contains(&version))
                }
            }

            #[cfg(any(test, feature = "sample"))]
            impl $crate::messages::sample::Sample for $name {
                #[allow(unused_variables, unused_mut)]
                fn sample(source: &mut $crate::messages::sample::Source, version: i16, nullable: bool) -> $name {
                    let mut message = $name::default();
                    $(
                        if ($range).contains(&version) {
                            let nullable = true $(&& ($nullable).contains(&version))?;
                            message.$field = $crate::messages::sample::Sample::sample(source, version, nullable);
                        }
                    )*
                    message
                }
            }

            impl $crate::wire::Field for $name {
                #[allow(unused_variables, unused_mut, clippy::redundant_closure_call)]
                fn read(
                    reader: &mut $crate::wire::Reader,
                    version: i16,
                    flexible: bool,
                ) -> Result<$name, $crate::wire::WireError> {
                    let mut message = $name::default();
                    $(
                        $crate::messages::table::read_plain!(
                            [$($tag)?] message.$field, reader, version, flexible, $range, $type
                        );
                    )*
                    if flexible {
                        reader.tagged_fields(|tag, reader| {
                            $(
                                $crate::messages::table::read_tagged!(
                                    [$($tag)?] message.$field, tag, reader, version, $range, $type
                                );
                            )*
                            Ok(false)
                        })?;
                    }
                    $($(
                        if !($nullable).contains(&version) && ($range).contains(&version)
                            && $crate::wire::Field::is_null(&message.$field)
                        {
                            return Err($crate::wire::WireError::NullNotAllowed {
                                message: stringify!($name), field: stringify!($field), version,
                            });
                        }
                    )?)*
                    Ok(message)
                }

                #[allow(unused_variables, unused_mut)]
                fn write(
                    &self,
                    writer: &mut $crate::wire::Writer,
                    version: i16,
                    flexible: bool,
                ) -> Result<(), $crate::wire::WireError> {
                    $(
                        if ($range).contains(&version) {
                            $(
                                if !($nullable).contains(&version) && $crate::wire::Field::is_null(&self.$field) {
                                    return Err($crate::wire::WireError::NullNotAllowed {
                                        message: stringify!($name), field: stringify!($field), version,
                                    });
                                }
                            )?
                            $crate::messages::table::write_plain!([$($tag)?] self.$field, writer, version, flexible);
                        } else {
                            $crate::messages::table::check_absent!(
                                $presence, self.$field, $type, version,
                                stringify!($name), stringify!($field), [$($default)?]
                            );
                        }
                    )*
                    if flexible {
                        let mut tagged = $crate::wire::TaggedFields::default();
                        $(
                            $crate::messages::table::write_tagged!(
                                [$($tag)?] self.$field, $type, tagged, version, $range, [$($default)?]
                            );
                        )*
                        writer.tagged_fields(tagged)?;
                    }
                    Ok(())
                }
            }
        )*
    };
}

macro_rules! default_of {
    () => {
        Default::default()
    };
    ($default:expr) => {
        $default
    };
}

macro_rules! read_plain {
    ([] $message:ident.$field:ident, $reader:ident, $version:ident, $flexible:ident, $range:expr, $type:ty) => {
        if ($range).contains(&$version) {
            $message.$field = <$type as $crate::wire::Field>::read($reader, $version, $flexible)?;
        }
    };
    ([$tag:literal] $($rest:tt)*) => {};
}

macro_rules! read_tagged {
    ([] $($rest:tt)*) => {};
    ([$tag:literal] $message:ident.$field:ident, $current:ident, $reader:ident, $version:ident, $range:expr, $type:ty) => {
        if $current == $tag && ($range).contains(&$version) {
            $message.$field = <$type as $crate::wire::Field>::read($reader, $version, true)?;
            return Ok(true);
        }
    };
}

macro_rules! write_plain {
    ([] $self:ident.$field:ident, $writer:ident, $version:ident, $flexible:ident) => {
        $crate::wire::Field::write(&$self.$field, $writer, $version, $flexible)?;
    };
    ([$tag:literal] $($rest:tt)*) => {};
}

macro_rules! write_tagged {
    ([] $($rest:tt)*) => {};
    (
        [$tag:literal] $self:ident.$field:ident, $type:ty, $tagged:ident, $version:ident, $range:expr,
        [$($default:expr)?]
    ) => {
        if ($range).contains(&$version) {
            let default: $type = $crate::messages::table::default_of!($($default)?);
            if $self.$field != default {
                $tagged.push($tag, |writer| $crate::wire::Field::write(&$self.$field, writer, $version, true))?;
            }
        }
    };
}

macro_rules! check_absent {
    (ignorable, $($rest:tt)*) => {};
    (
        versions, $self:ident.$field:ident, $type:ty, $version:ident, $message:expr, $name:expr,
        [$($default:expr)?]
    ) => {
        let default: $type = $crate::messages::table::default_of!($($default)?);
        if $self.$field != default {
            return Err($crate::wire::WireError::FieldNotInVersion {
                message: $message, field: $name, version: $version,
            });
        }
    };
}

pub(crate) use {check_absent, default_of, messages, read_plain, read_tagged, write_plain, write_tagged};
