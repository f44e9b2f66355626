import type { RepairLimits } from '@cni-offload/sdk/runtime'

/** How much a host daemon does at a time, and how long it waits. Times are in milliseconds. */
export interface HostLimits extends RepairLimits {
  /** ADDs at a time; more wait in a fair queue. */
  readonly adds: number
  /** An ADD, from the queue to the answer. */
  readonly addMs: number
  /** Undoing one side of an attachment. */
  readonly undoMs: number
  /** How long a call waits for an agent that is not connected, or that is being brought in line, before it fails. */
  readonly agentMs: number
  /**
   * How long ADD, CHECK and DEL wait for an agent that has said that it restarts, and for the first connection of a daemon that has just
   * started, before they fail as they do after a loss.
   */
  readonly restartMs: number
  /** Pause between two heartbeats. */
  readonly beatMs: number
  /** Silence of the agent that is taken for its loss. */
  readonly silenceMs: number
  /** Pause between two resyncs while the agent is connected and all is well; also the longest one after a resync that failed. */
  readonly resyncMs: number
  /** STATUS on the agent's side. */
  readonly statusMs: number
  /** CHECK on the agent's side, which may run plugins. */
  readonly checkMs: number
  /**
   * How long requests may go on when the daemon is told to stop, before they are aborted. With the start of the next daemon it has to fit
   * into the 15 s that the CNI executable waits for one.
   */
  readonly drainMs: number
  /** How long the reconciler takes at least to look at all pods once; 0 switches it off. */
  readonly reconcileMs: number
}

/** The limits that hold where none are given. */
export const DEFAULT_LIMITS: HostLimits = {
  adds: 32,
  addMs: 60_000,
  undoMs: 15_000,
  agentMs: 2_000,
  restartMs: 20_000,
  beatMs: 1_000,
  silenceMs: 2_500,
  resyncMs: 60_000,
  statusMs: 2_500,
  checkMs: 15_000,
  drainMs: 10_000,
  reconcileMs: 5_000,
  repairBurst: 32,
  repairEveryMs: 250,
  repairPauseMs: 5_000,
  repairPauseMaxMs: 600_000,
}
