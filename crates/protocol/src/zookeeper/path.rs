//! What a znode path may look like (ZooKeeper's `PathUtils.validatePath`), and how to take one apart.

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("path is empty")]
    Empty,
    #[error("path must start with /")]
    NoLeadingSlash,
    #[error("path must not end with /")]
    TrailingSlash,
    #[error("path has an empty part (//)")]
    EmptyPart,
    #[error("path has a part that is . or ..")]
    RelativePart,
    #[error("path has a character that ZooKeeper refuses, U+{0:04X}")]
    BadCharacter(u32),
}

/// Checks a whole path. `/` alone is fine.
pub fn validate(path: &str) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    let Some(rest) = path.strip_prefix('/') else { return Err(PathError::NoLeadingSlash) };
    if rest.is_empty() {
        return Ok(());
    }
    if rest.ends_with('/') {
        return Err(PathError::TrailingSlash);
    }
    for part in rest.split('/') {
        match part {
            "" => return Err(PathError::EmptyPart),
            "." | ".." => return Err(PathError::RelativePart),
            _ => {}
        }
    }
    match rest.chars().find(|c| is_refused(*c)) {
        Some(c) => Err(PathError::BadCharacter(u32::from(c))),
        None => Ok(()),
    }
}

/// Checks the path of a create. A sequential node may end in `/`: the counter becomes its whole name.
pub fn validate_create(path: &str, sequential: bool) -> Result<(), PathError> {
    if sequential { validate(&format!("{path}1")) } else { validate(path) }
}

/// Java walks UTF-16 units, so a character beyond U+FFFF is two surrogates to it and refused as such.
fn is_refused(c: char) -> bool {
    matches!(u32::from(c), 0..=0x1f | 0x7f..=0x9f | 0xd800..=0xf8ff | 0xfff0..)
}

/// Path of the parent: `/a` for `/a/b`, `/` for `/a`, nothing for `/`.
pub fn parent(path: &str) -> Option<&str> {
    match path.rfind('/') {
        Some(0) if path.len() > 1 => Some("/"),
        Some(slash) if slash > 0 => Some(&path[..slash]),
        _ => None,
    }
}

/// Last part of the path: `b` for `/a/b`, empty for `/`.
pub fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// Path of a child.
pub fn join(parent: &str, name: &str) -> String {
    if parent == "/" { format!("/{name}") } else { format!("{parent}/{name}") }
}
