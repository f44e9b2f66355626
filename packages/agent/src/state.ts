/** Where an agent stands in its life; it goes through them from top to bottom, once. */
export type AgentState =
  /** Made; nothing was opened yet. */
  | 'INITIALIZED'
  /** Opening the journal, starting hardware and adapters, undoing what a previous run left. No call is served. */
  | 'STARTING'
  /** Calls are served. */
  | 'RUNNING'
  /** Told to stop: no new call is served, those that run may end. */
  | 'DRAINING'
  /** Everything is closed. Attachments stay: ports go on forwarding without the agent. */
  | 'STOPPED'
