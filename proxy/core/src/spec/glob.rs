//! Patterns of file names: `*` and `?` within one part of a path.
//!
//! Pure. A name that begins with a dot is only met by a pattern that does, so that editors'
//! and Kubernetes' hidden files stay out.

use super::Source;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Whether a path has parts that are patterns.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?'])
}

/// The paths that a pattern meets, in order. Every folder that was listed is added to `folders`.
pub(super) fn expand(
    pattern: &Path,
    source: &dyn Source,
    folders: &mut Vec<PathBuf>,
) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let Component::Normal(name) = part else {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        };
        let name = name.to_string_lossy();
        if !is_pattern(&name) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let mut next = Vec::new();
        for folder in found {
            let folder_name = if folder.as_os_str().is_empty() {
                PathBuf::from(".")
            } else {
                folder.clone()
            };
            folders.push(folder_name.clone());
            let mut names = match source.list(&folder_name) {
                Ok(names) => names,
                Err(error) if error.kind() == io::ErrorKind::NotADirectory => continue,
                Err(error) => return Err(error),
            };
            names.retain(|candidate| meets(candidate, &name));
            names.sort_unstable();
            next.extend(names.into_iter().map(|name| folder.join(name)));
        }
        found = next;
    }
    Ok(found)
}

/// Whether a name meets a pattern, in time bounded by the product of their lengths.
fn meets(name: &str, pattern: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (name, pattern): (Vec<char>, Vec<char>) =
        (name.chars().collect(), pattern.chars().collect());
    let (mut n, mut p) = (0, 0);
    // Where the last `*` stands, and how much of the name it has taken.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match (pattern.get(p), star) {
            (Some('*'), _) => {
                star = Some((p, n));
                p += 1;
            }
            (Some(c), _) if *c == '?' || *c == name[n] => {
                n += 1;
                p += 1;
            }
            (_, Some((at, taken))) => {
                star = Some((at, taken + 1));
                p = at + 1;
                n = taken + 1;
            }
            _ => return false,
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_meet_patterns() {
        let rows = [
            ("a.yaml", "*.yaml", true),
            ("a.yml", "*.yaml", false),
            (".a.yaml", "*.yaml", false),
            (".a.yaml", ".*.yaml", true),
            ("a.yaml.yaml", "*.yaml", true),
            ("abc", "a?c", true),
            ("ac", "a?c", false),
            ("ac", "a*c", true),
            ("aXbYc", "a*b*c", true),
            ("aXbY", "a*b*c", false),
            ("", "*", true),
        ];
        for (name, pattern, expected) in rows {
            assert_eq!(meets(name, pattern), expected, "{name} {pattern}");
        }
    }
}
