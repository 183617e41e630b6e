//! Replaced at merge.
#![allow(missing_docs)]
use crate::address::{AddressError, HostSpec};
use crate::config::{Config, ConfigError};
use std::fmt;
use std::path::Path;
use std::str::FromStr;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostList(Vec<HostSpec>, bool);
impl FromStr for HostList {
    type Err = AddressError;
    fn from_str(text: &str) -> Result<Self, AddressError> {
        let words = text.split(',').filter(|w| !w.is_empty()).map(str::parse).collect::<Result<_, _>>()?;
        Ok(Self(words, text.contains(',')))
    }
}
impl fmt::Display for HostList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&words.join(","))
    }
}
impl HostList {
    pub fn single(&self) -> Option<&HostSpec> {
        if self.1 { None } else { self.0.first() }
    }
}
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    pub hosts: Option<HostList>,
    pub groups: Vec<String>,
    pub exclude: Option<HostList>,
    pub tags: Vec<String>,
}
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selected {
    pub hosts: Vec<HostSpec>,
    pub disabled: Vec<String>,
}
impl Selection {
    pub fn is_fleet(&self) -> bool {
        !self.groups.is_empty() || !self.tags.is_empty() || self.hosts.as_ref().is_some_and(|h| h.1)
    }
}
pub fn select(selection: &Selection, _: &Config, _: &Path) -> Result<Selected, ConfigError> {
    Ok(Selected { hosts: selection.hosts.clone().unwrap_or_default().0, disabled: vec![] })
}
pub fn fold(names: &[String]) -> String {
    names.join(",")
}
