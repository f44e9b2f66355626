import { reached as announce } from '@cni-offload/sdk/runtime'

/**
 * Steps of the host daemon: what has just happened whenever it has done something that outlives it. Between any two of them a crash
 * must be harmless. `undo` is DEL and whatever else ends an attachment, `queue` what could not be ended at once.
 */
export const HOST_STEPS = [
  'host.add.leased',
  'host.add.asked',
  'host.add.acquired',
  'host.add.moved',
  'host.add.answered',
  'host.add.noted',
  'host.add.configured',
  'host.add.file-written',
  'host.add.wired',
  'host.undo.noted',
  'host.undo.file-removed',
  'host.undo.released',
  'host.undo.detached',
  'host.undo.freed',
  'host.undo.quarantined',
  'host.vf.enforced',
  'host.queue.shortened',
  'host.queue.finished',
  'host.recover.withheld',
  'host.recover.readmitted',
  'host.recover.reclaimed',
  'host.recover.undone',
  'host.recover.adopted',
  'host.recover.rebuilt',
  'host.ipam-add.noted',
  'host.ipam-add.made',
  'host.ipam-add.finished',
  'host.ipam-add.addressed',
  'host.ipam-undo.noted',
  'host.ipam-undo.ended',
  'host.ipam-undo.forgotten',
  'host.fallback-add.noted',
  'host.fallback-add.made',
  'host.fallback-add.finished',
  'host.fallback-undo.noted',
  'host.fallback-undo.ended',
  'host.fallback-undo.forgotten',
] as const

/** Name of a step of the host daemon. */
export type HostStep = (typeof HOST_STEPS)[number]

/** Says that a step has been reached. */
export const reached = (step: HostStep): void => announce(step)
