import { OffloadError } from '@cni-offload/sdk'

/**
 * The life of a VF and of the attachment that has it: what may follow in each state, and where it leads. Events are the methods
 * of the journal; what is not listed is refused.
 *
 * An attachment has exactly one VF from its lease until its end is done on both sides, so that one machine tells where both
 * stand. The three tables of the journal hold it: a VF's state, an attachment's phase and a row of the queue of clean-ups.
 */
export const LIFECYCLE = {
  free: { lease: 'leased', withhold: 'withheld' },
  leased: { addressed: 'leased', attached: 'attached', detaching: 'detaching' },
  attached: { wired: 'wired', detaching: 'detaching' },
  wired: { renewed: 'wired', detaching: 'detaching' },
  detaching: { detaching: 'detaching', free: 'free', quarantine: 'quarantined' },
  quarantined: { progress: 'quarantined', finish: 'free' },
  withheld: { adopt: 'wired', readmit: 'free' },
} as const

/**
 * Where a VF stands. Nobody has it while it is `free`; an attachment has it in the states that are phases of attachments;
 * `quarantined` means that something is left to do for a former one, `withheld` that nobody knows yet who has it.
 */
export type LeaseState = keyof typeof LIFECYCLE

type EventsOf<S> = S extends LeaseState ? keyof (typeof LIFECYCLE)[S] : never

/** What happens to a VF and its attachment. */
export type LeaseEvent = EventsOf<LeaseState>

/** All states. */
export const LEASE_STATES: readonly LeaseState[] = Object.keys(LIFECYCLE) as LeaseState[]

/** Where an event leads, undefined if it is refused in that state. */
export function nextState(state: LeaseState, event: LeaseEvent): LeaseState | undefined {
  const events: Readonly<Partial<Record<LeaseEvent, LeaseState>>> = LIFECYCLE[state]
  return events[event]
}

/** The states in which an event is allowed. */
export function statesBefore(event: LeaseEvent): readonly LeaseState[] {
  return LEASE_STATES.filter((state) => nextState(state, event) !== undefined)
}

/** Why nothing was written. @param of - whom the event was meant for, @param state - undefined if the journal does not have it */
export function refusal(file: string, of: string, state: LeaseState | undefined, event: LeaseEvent): OffloadError {
  const where = state === undefined ? 'is not there' : `is ${state}`
  return new OffloadError(
    'JOURNAL_FAILURE',
    `journal ${file}: ${of} ${where}: "${event}" is refused, it may follow ${statesBefore(event).join(', ')} only`,
    { hint: 'This is a defect of the daemon. Nothing was written; a restart undoes what is not complete.' },
  )
}
