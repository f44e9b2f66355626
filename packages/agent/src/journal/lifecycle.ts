import { OffloadError } from '@cni-offload/sdk'

/**
 * The life of an attachment on the DPU: what may follow in each state, and where it leads. Events are the methods of the
 * journal; what is not listed is refused.
 */
export const LIFECYCLE = {
  absent: { begin: 'attaching', adopt: 'attached' },
  attaching: { attached: 'attached', abandon: 'absent', detaching: 'detaching' },
  attached: { renewed: 'attached', detaching: 'detaching' },
  detaching: { detaching: 'detaching', remove: 'absent' },
} as const

/** Where an attachment stands; `absent` ones have no row. */
export type LifecycleState = keyof typeof LIFECYCLE

type EventsOf<S> = S extends LifecycleState ? keyof (typeof LIFECYCLE)[S] : never

/** What happens to an attachment. */
export type LifecycleEvent = EventsOf<LifecycleState>

/** All states. */
export const LIFECYCLE_STATES: readonly LifecycleState[] = Object.keys(LIFECYCLE) as LifecycleState[]

/** Where an event leads, undefined if it is refused in that state. */
export function nextState(state: LifecycleState, event: LifecycleEvent): LifecycleState | undefined {
  const events: Readonly<Partial<Record<LifecycleEvent, LifecycleState>>> = LIFECYCLE[state]
  return events[event]
}

/** The states in which an event is allowed. */
export function statesBefore(event: LifecycleEvent): readonly LifecycleState[] {
  return LIFECYCLE_STATES.filter((state) => nextState(state, event) !== undefined)
}

/** Why nothing was written. @param of - the attachment that the event was meant for */
export function refusal(file: string, of: string, state: LifecycleState, event: LifecycleEvent): OffloadError {
  return new OffloadError(
    'JOURNAL_FAILURE',
    `journal ${file}: attachment ${of} is ${state}: "${event}" is refused, it may follow ${statesBefore(event).join(', ')} only`,
    { hint: 'This is a defect of the agent. Nothing was written; a restart undoes what is not complete.' },
  )
}
