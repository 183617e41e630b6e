//! Remote patterns: expanded by listing, as a shell does.

use ft_protocol::{RemotePath, Status};

use super::Failed;
use crate::address::RemoteOperand;
use crate::client::{Client, EntryType};
use crate::exit::Exit;
use crate::glob::GlobComponent;

/// The paths that an operand means, in the order of their bytes. A pattern that matches nothing is an error.
pub(super) async fn expand(client: &mut Client, operand: &RemoteOperand) -> Result<Vec<RemotePath>, Failed> {
    let components = match operand {
        RemoteOperand::Path(path) => return Ok(vec![path.clone()]),
        RemoteOperand::Glob(components) => components,
    };
    let mut found = vec![RemotePath::root()];
    for (number, component) in components.iter().enumerate() {
        let is_last = number + 1 == components.len();
        let mut next = Vec::new();
        for path in found {
            match component {
                // The name after a pattern may be missing in some of the directories that matched.
                GlobComponent::Literal(name) if is_last || number > 0 => {
                    let path = path.join(name).map_err(crate::ClientError::from)?;
                    if exists(client, &path).await? {
                        next.push(path);
                    }
                }
                GlobComponent::Literal(name) => next.push(path.join(name).map_err(crate::ClientError::from)?),
                GlobComponent::Pattern(pattern) => {
                    let entries = match client.list(&path).await {
                        Err(error) if error.status() == Status::NotDirectory => continue,
                        entries => entries?,
                    };
                    for entry in entries {
                        let may_lead_on = is_last || matches!(entry.kind, EntryType::Dir | EntryType::Link);
                        if may_lead_on && pattern.matches(&entry.name) {
                            next.push(path.join(&entry.name).map_err(crate::ClientError::from)?);
                        }
                    }
                }
            }
        }
        found = next;
    }
    if found.is_empty() {
        return Err(Failed::new(Exit::NotFound, "the pattern matches nothing"));
    }
    Ok(found)
}

async fn exists(client: &mut Client, path: &RemotePath) -> Result<bool, Failed> {
    match client.stat(path).await {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.status(), Status::NotFound | Status::NotDirectory) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
