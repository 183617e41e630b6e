//! The end of a tree at the receiver: what was left for the time when everything has arrived.

use super::commit::{CommitJob, Committer, Step, What};
use super::landing::TreeLanding;
use super::receive::{Place, ReceiveTree};
use super::turns::BATCH_FILES;
use super::{TreeDone, ends_it};
use crate::error::{Failure, Result, Status};
use crate::wire::Sender;

impl TreeLanding {
    /// The second pass, when everything has arrived.
    pub(super) fn finish(mut self) -> Result<TreeDone> {
        let complete = self.walked == Some(true) && self.unreadable == 0;
        let mut done = self.done;
        done.failed = self.committer.finish()?;
        let mut rest = Vec::new();
        let mut refused = None;
        if complete && done.failed == 0 {
            (rest, refused) = self.extras.remove(&self.job, &self.place, &self.special, &mut self.pulse)?;
        }
        if refused.as_ref().is_some_and(ends_it) {
            // What is gone is told all the same, as the next attempt does not find it. All else is for that one.
            self.late.clear();
            self.ends.clear();
        }
        let stays = match refused {
            None if complete && done.failed == 0 => {
                rest.append(&mut self.late);
                ""
            }
            None => "a directory stands here, and nothing is removed after a failure",
            Some(_) => "a directory stands here, and nothing was removed",
        };
        for mut step in std::mem::take(&mut self.late) {
            step.item.failure =
                Some(Failure::new(Status::IsDirectory, format!("'{}': {stays}", step.item.path)));
            step.item.here = true;
            rest.push(Step { what: What::Nothing, ..step });
        }
        rest.append(&mut self.ends);
        if !rest.is_empty() {
            let committer = Committer::spawn(commit_job(self.op, &self.job, &self.place, &self.tx))?;
            for batch in chunks(rest) {
                committer.commit(batch)?;
            }
            done.failed += committer.finish()?;
        }
        refused.map_or(Ok(done), Err)
    }
}

pub(super) fn commit_job(op: u32, job: &ReceiveTree, place: &Place, tx: &Sender) -> CommitJob {
    CommitJob {
        op,
        place: place.clone(),
        tx: tx.clone(),
        report: job.report,
        meter: job.meter.clone(),
        on_item: job.on_item.clone(),
    }
}

fn chunks(steps: Vec<Step>) -> impl Iterator<Item = Vec<Step>> {
    let mut steps = steps.into_iter();
    std::iter::from_fn(move || {
        let chunk: Vec<Step> = steps.by_ref().take(BATCH_FILES).collect();
        (!chunk.is_empty()).then_some(chunk)
    })
}
