//! What a tree leaves out: patterns in the syntax of gitignore, in command-line order, the first match decides.

use std::sync::Arc;

use crate::display::Escaped;
use crate::error::{Error, Result, Status};
use crate::glob::{Escapes, Pattern};
use crate::path::RemotePath;

/// Most rules of a filter. Every name of a tree is held against all of them.
pub const MAX_RULES: usize = 4096;
/// Most bytes of a filter as it travels, in one message with a path.
pub const MAX_FILTER: usize = 240 * 1024;

/// One pattern and what it means.
///
/// A pattern with a `/` at its beginning or in its middle is anchored at the tree's root, any other fits at any depth.
/// A `/` at its end means directories only. `*`, `?` and `[…]` stay within one name ([`Pattern`]); `**` as a whole
/// component is any number of directories, at the end everything beneath. A backslash escapes the next byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// True: what fits is part of the tree; false: it is not.
    pub include: bool,
    /// The pattern as it was typed; bytes, not necessarily UTF-8.
    pub pattern: Vec<u8>,
}

/// Rules in their order. The first that fits decides; what fits none is part of the tree. The default leaves nothing
/// out. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    rules: Arc<[Parsed]>,
}

#[derive(Debug)]
struct Parsed {
    rule: Rule,
    dirs_only: bool,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    /// The last component fits, wherever it is.
    Name(Part),
    /// All components fit, from the root on.
    Path(Vec<Part>),
}

#[derive(Debug)]
enum Part {
    Literal(Box<[u8]>),
    Glob(Pattern),
    /// Any number of components, also none.
    Deep,
}

impl Filter {
    /// Parses rules.
    ///
    /// # Errors
    /// [`Status::Invalid`] names the pattern that cannot be understood; [`Status::Limit`] beyond [`MAX_RULES`] or
    /// [`MAX_FILTER`].
    pub fn new(rules: Vec<Rule>) -> Result<Filter> {
        let bytes: usize = rules.iter().map(|rule| rule.pattern.len() + 2).sum();
        check_size(rules.len(), bytes)?;
        let parsed: Result<Vec<Parsed>> = rules.into_iter().map(Parsed::new).collect();
        Ok(Filter { rules: parsed?.into() })
    }

    /// From [`Filter::to_wire`] of a peer; errors as [`Filter::new`].
    pub fn from_wire(bytes: &[u8]) -> Result<Filter> {
        let Some((last, rules)) = bytes.split_last() else { return Ok(Filter::default()) };
        check_size(bytes.iter().filter(|byte| **byte == 0).count(), bytes.len())?;
        if *last != 0 {
            return Err(Error::local(Status::Invalid, "a list of patterns that is cut in its last one"));
        }
        let rule = |text: &[u8]| match text {
            [b'+', pattern @ ..] => Ok(Rule { include: true, pattern: pattern.to_vec() }),
            [b'-', pattern @ ..] => Ok(Rule { include: false, pattern: pattern.to_vec() }),
            _ => Err(refused(text, "neither + nor - comes first")),
        };
        Filter::new(rules.split(|byte| *byte == 0).map(rule).collect::<Result<_>>()?)
    }

    /// The wire form: for each rule `+` or `-`, the pattern, a zero byte.
    pub fn to_wire(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for Parsed { rule, .. } in self.rules.iter() {
            bytes.push(if rule.include { b'+' } else { b'-' });
            bytes.extend_from_slice(&rule.pattern);
            bytes.push(0);
        }
        bytes
    }

    /// True where there is no rule.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// True where this path is not part of the tree. Only the path itself is looked at: what is in an excluded
    /// directory is out because a walk does not enter it. The root is always part of it.
    pub fn excludes(&self, path: &RemotePath, is_dir: bool) -> bool {
        let Some(name) = path.as_bytes().rsplit(|byte| *byte == b'/').next().filter(|name| !name.is_empty())
        else {
            return false;
        };
        let fits = |parsed: &&Parsed| {
            (is_dir || !parsed.dirs_only)
                && match &parsed.shape {
                    Shape::Name(part) => part.fits(name),
                    Shape::Path(parts) => fits_path(parts, path.as_bytes()),
                }
        };
        self.rules.iter().find(fits).is_some_and(|parsed| !parsed.rule.include)
    }
}

impl Parsed {
    fn new(rule: Rule) -> Result<Parsed> {
        let text = rule.pattern.as_slice();
        if text.contains(&0) {
            return Err(refused(text, "it holds a NUL byte"));
        }
        let (components, dirs_only) = split(text);
        let anchored = components.len() > 1 || text.first() == Some(&b'/');
        let mut parts = Vec::new();
        for component in components.iter().filter(|component| !component.is_empty()) {
            let part = Part::new(component).map_err(|error| refused(text, &error.failure().message))?;
            if !matches!((parts.last(), &part), (Some(Part::Deep), Part::Deep)) {
                parts.push(part);
            }
        }
        // At the end `**` is everything beneath, and so at least one more name.
        if let Some(Part::Deep) = parts.last() {
            parts.push(Part::Glob(Pattern::new(b"*", Escapes::Any)?));
        }
        if parts.is_empty() {
            return Err(refused(text, "it names nothing"));
        }
        let shape = match parts.pop() {
            Some(only) if parts.is_empty() && !anchored => Shape::Name(only),
            last => {
                parts.extend(last);
                Shape::Path(parts)
            }
        };
        Ok(Parsed { rule, dirs_only, shape })
    }
}

/// The components between slashes, and whether a slash ends the pattern. An escaped slash is a slash.
fn split(text: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut components = vec![Vec::new()];
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let (taken, after): (&[u8], _) = match (first, tail) {
            (b'/', _) | (b'\\', [b'/', ..]) => {
                let after = tail.strip_prefix(b"/").filter(|_| *first == b'\\').unwrap_or(tail);
                components.push(Vec::new());
                (&[], after)
            }
            (b'\\', [escaped, after @ ..]) => (&[b'\\', *escaped], after),
            _ => (std::slice::from_ref(first), tail),
        };
        if let Some(component) = components.last_mut() {
            component.extend_from_slice(taken);
        }
        rest = after;
    }
    let dirs_only = components.len() > 1 && components.last().is_some_and(Vec::is_empty);
    if dirs_only {
        components.pop();
    }
    (components, dirs_only)
}

impl Part {
    fn new(component: &[u8]) -> Result<Part> {
        if component.len() > 1 && component.iter().all(|byte| *byte == b'*') {
            return Ok(Part::Deep);
        }
        let pattern = Pattern::new(component, Escapes::Any)?;
        Ok(match pattern.literal() {
            Some(name) => Part::Literal(name.into()),
            None => Part::Glob(pattern),
        })
    }

    fn fits(&self, name: &[u8]) -> bool {
        match self {
            Part::Literal(literal) => **literal == *name,
            Part::Glob(pattern) => pattern.matches(name),
            Part::Deep => true,
        }
    }
}

/// True where the whole path fits. Only the last `**` ever takes a component more, so that each part is held against
/// each component once at most.
fn fits_path<'a>(parts: &'a [Part], path: &'a [u8]) -> bool {
    let (mut parts, mut rest) = (parts, path);
    let mut retry: Option<(&[Part], &[u8])> = None;
    loop {
        match parts {
            [Part::Deep, after @ ..] => {
                retry = Some((after, rest));
                parts = after;
                continue;
            }
            [part, after @ ..] if !rest.is_empty() => {
                let (name, left) = first_component(rest);
                if part.fits(name) {
                    (parts, rest) = (after, left);
                    continue;
                }
            }
            [] if rest.is_empty() => return true,
            _ => {}
        }
        match retry {
            Some((after, left)) if !left.is_empty() => {
                let (_, shorter) = first_component(left);
                retry = Some((after, shorter));
                (parts, rest) = (after, shorter);
            }
            _ => return false,
        }
    }
}

/// The first component of a path, and the path from the second on.
fn first_component(path: &[u8]) -> (&[u8], &[u8]) {
    let mut halves = path.splitn(2, |byte| *byte == b'/');
    (halves.next().unwrap_or_default(), halves.next().unwrap_or_default())
}

fn check_size(rules: usize, bytes: usize) -> Result<()> {
    if rules > MAX_RULES || bytes > MAX_FILTER {
        return Err(Error::local(
            Status::Limit,
            format!(
                "{rules} patterns of {bytes} bytes; at most {MAX_RULES} of {MAX_FILTER} bytes are allowed"
            ),
        ));
    }
    Ok(())
}

fn refused(pattern: &[u8], why: &str) -> Error {
    Error::local(Status::Invalid, format!("bad pattern '{}': {why}", Escaped::new(pattern).brief()))
}
