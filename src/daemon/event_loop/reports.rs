//! Reports about this daemon: adds what the loop knows to what the deciding part knows, and has a worker make the text.

use crate::daemon::report::{self, Machine};
use crate::edge::{process_memory, store};
use crate::model::host_work::HostDone;
use crate::model::status::{ReportForm, ReportOrder};
use crate::model::time::Now;
use crate::model::work::{WorkId, WorkOutcome};

use super::EventLoop;
use super::storage::JobResult;
use super::workers::Rank;

impl EventLoop {
    /// Starts the making of a report.
    pub(super) fn report(&mut self, id: WorkId, order: ReportOrder, _: Now) {
        let mut machine = Machine { is_in_memory: self.storage.is_in_memory, ..Machine::default() };
        #[cfg(feature = "centreon")]
        {
            machine.cluster = self.cluster.as_ref().map(super::ClusterWatch::as_json);
        }
        if order.form == ReportForm::Ready {
            machine.stores_not = self.storage.takes_no_rows();
        }
        if matches!(order.form, ReportForm::Metrics | ReportForm::OpenMetrics) {
            machine.commits = self.storage.commits.clone();
            machine.turns = self.turns.clone();
            machine.tally = self.dispatch.tally();
            machine.certificates = self.listening.certificates();
            machine.descriptors_max = self.listening.descriptors_max();
        }
        let place = self.storage.place().clone();
        let make = move || {
            machine.memory = process_memory::anonymous_bytes();
            machine.descriptors = process_memory::open_descriptors();
            machine.database_bytes = store::size_bytes(&place);
            let outcome = WorkOutcome::Reported(report::make(&order, &machine));
            JobResult::Host(HostDone::WorkDone { id, outcome })
        };
        self.workers.submit(Rank::Match, Box::new(make));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::model::node_id::NodeId;
    use crate::model::status::{AboutNode, NodeFacts, NodeState, Overview};

    fn overview(count: u64) -> Overview {
        let node = |number: u64| NodeFacts {
            id: NodeId::new(number + 2).unwrap(),
            uid: None,
            kind: "pull",
            address: Some("192.0.2.1".to_owned()),
            state: NodeState::Up,
            link: Some("sealed"),
            since: 1_795_450_000,
            last_ping: 1_795_450_000,
            ping_ms: Some(3),
            ping_ok: 9,
            ping_failed: 0,
            synced_at: 1_795_450_000,
            sync_lag: Some(0),
            queue: 0,
            unconfirmed: 0,
            about: AboutNode { hostname: Some("poller".into()), ..AboutNode::default() },
            behind: "{}".into(),
        };
        Overview {
            instance: 1,
            nodes_version: 2,
            version: 3,
            now: 1_795_450_030,
            started_at: 1_795_000_000,
            id: NodeId::new(1).ok(),
            hostname: "central".to_owned(),
            stores: true,
            is_stopping: false,
            running: 0,
            waiting: 0,
            open_tokens: 0,
            queue: Default::default(),
            parents: (0, 0),
            states: [count, 0, 0],
            is_whole: true,
            nodes: (0..count).map(node).collect(),
            removed: Vec::new(),
            has_counts: true,
            failures: Vec::new(),
            counted: Default::default(),
            allowed: Default::default(),
        }
    }

    #[test]
    fn reports_about_five_thousand_nodes_are_made_in_a_moment() {
        let machine = Machine::default();
        let mut order = ReportOrder { form: ReportForm::Json, gzip: false, overview: overview(5_000) };
        for (form, limit_ms) in
            [(ReportForm::Json, 150), (ReportForm::Metrics, 20), (ReportForm::Page { from: 0 }, 150)]
        {
            order.form = form;
            let begin = Instant::now();
            let answer = report::make(&order, &machine);
            let took = begin.elapsed();
            assert!(answer.document.is_some_and(|document| document.bytes.len() > 20_000), "{form:?}");
            eprintln!("{form:?}: {took:?}");
            // A debug build takes about ten times as long, and the machine may be busy.
            assert!(took.as_millis() < limit_ms * 50, "{form:?}: {took:?}");
        }
    }

    #[test]
    fn a_quiet_minute_of_a_hundred_nodes_costs_little_traffic() {
        let machine = Machine::default();
        // Within two seconds, four of a hundred nodes are pinged or synchronised.
        let mut quiet = overview(4);
        (quiet.is_whole, quiet.has_counts) = (false, false);
        let order = ReportOrder { form: ReportForm::Json, gzip: false, overview: quiet };
        let answer = report::make(&order, &machine);
        let bytes = answer.document.map_or(0, |document| document.bytes.len()) + 400;
        assert!(bytes / 2 <= 2_000, "{bytes} bytes in two seconds");
    }
}
