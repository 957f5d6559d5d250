//! A directed graph, and its cycles.

/// A directed graph.
pub(super) struct Graph(Vec<Vec<usize>>);

impl Graph {
    pub(super) fn new(nodes: usize) -> Graph {
        Graph(vec![Vec::new(); nodes])
    }

    pub(super) fn edge(&mut self, from: usize, to: usize) {
        if from != to {
            self.0[from].push(to);
        }
    }

    /// Adds the order of nodes that were answered before others were sent. For each answer there
    /// is one more node, behind the answered one and the node of the answer before: so the number
    /// of edges grows with that of the nodes.
    pub(super) fn order_by_time(&mut self, times: &[(u64, u64)]) {
        let sends = times.iter().enumerate().map(|(at, (sent, _))| (*sent, at, false));
        let answers = times.iter().enumerate().map(|(at, (_, answered))| (*answered, at, true));
        let mut events: Vec<_> = sends.chain(answers).collect();
        events.sort_unstable();
        let mut last = None;
        for (_, at, is_answer) in events {
            if is_answer {
                let answer = self.0.len();
                self.0.push(Vec::new());
                self.edge(at, answer);
                last.into_iter().for_each(|last| self.edge(last, answer));
                last = Some(answer);
            } else {
                last.into_iter().for_each(|last| self.edge(last, at));
            }
        }
    }

    /// A cycle, if there is one: what is left when nodes without predecessors are taken away again
    /// and again (Kahn, 1962) has one, and going back in it leads there.
    pub(super) fn cycle(&self) -> Option<Vec<usize>> {
        let mut before: Vec<Vec<usize>> = vec![Vec::new(); self.0.len()];
        for (from, next) in self.0.iter().enumerate() {
            next.iter().for_each(|to| before[*to].push(from));
        }
        let mut open: Vec<usize> = before.iter().map(Vec::len).collect();
        let mut free: Vec<usize> = (0..self.0.len()).filter(|node| open[*node] == 0).collect();
        while let Some(node) = free.pop() {
            for next in &self.0[node] {
                open[*next] -= 1;
                free.extend((open[*next] == 0).then_some(*next));
            }
        }
        let mut at = (0..self.0.len()).find(|node| open[*node] > 0)?;
        let mut way: Vec<usize> = Vec::new();
        while !way.contains(&at) {
            way.push(at);
            at = *before[at].iter().find(|node| open[**node] > 0)?;
        }
        let begin = way.iter().position(|node| *node == at)?;
        let mut cycle = way.split_off(begin);
        cycle.push(at);
        cycle.reverse();
        Some(cycle)
    }
}
