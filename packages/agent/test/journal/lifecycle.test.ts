import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { LIFECYCLE_STATES, type LifecycleEvent, type LifecycleState, nextState, statesBefore } from '../../src/journal/lifecycle.ts'
import { SqliteJournal } from '../../src/journal/sqlite-journal.ts'
import type { AttachmentJournal } from '../../src/journal/types.ts'
import { call, key } from '../support/bench.ts'
import { TestClock } from '../support/clock.ts'
import { FakeNetwork } from '../support/fakes.ts'

const RESULT = new FakeNetwork().newResult()

/** Brings an attachment to a state. */
const REACH: Readonly<Record<LifecycleState, (journal: AttachmentJournal) => void>> = {
  absent: () => {},
  attaching: (journal) => void journal.begin(call('a', 0), 'port0', '*/fake'),
  attached(journal) {
    journal.begin(call('a', 0), 'port0', '*/fake')
    journal.attached(key('a'), RESULT)
  },
  detaching(journal) {
    journal.begin(call('a', 0), 'port0', '*/fake')
    journal.detaching(key('a'))
  },
}

const HAPPEN: Readonly<Record<LifecycleEvent, (journal: AttachmentJournal) => void>> = {
  begin: (journal) => void journal.begin(call('a', 1), 'port1', '*/fake'),
  attached: (journal) => journal.attached(key('a'), RESULT),
  adopt: (journal) => journal.adopt(call('a', 1), 'port1', RESULT, '*/fake'),
  abandon: (journal) => journal.abandon(key('a')),
  renewed: (journal) => journal.renewed(call('a', 0), 'port0', RESULT, '*/fake'),
  detaching: (journal) => journal.detaching(key('a')),
  remove: (journal) => journal.remove(key('a')),
}

const EVENTS = Object.keys(HAPPEN) as LifecycleEvent[]
const stateOf = (journal: AttachmentJournal): LifecycleState => journal.get(key('a'))?.state ?? 'absent'

describe('the lifecycle', () => {
  test.each(LIFECYCLE_STATES.flatMap((state) => EVENTS.map((event) => ({ state, event, to: nextState(state, event) }))))(
    'is what the journal keeps to: $event while $state leads to $to',
    ({ state, event, to }) => {
      using journal = new SqliteJournal(':memory:', new TestClock())
      REACH[state](journal)
      expect(stateOf(journal)).toBe(state)
      const before = journal.all()
      if (to === undefined) {
        expect(() => HAPPEN[event](journal)).toThrow(`attachment podnet/a/eth0 is ${state}: "${event}" is refused`)
        expect(journal.all(), 'nothing is half written').toEqual(before)
      } else {
        HAPPEN[event](journal)
        expect(stateOf(journal)).toBe(to)
      }
    },
  )

  test('has no state that cannot be reached or left, and no event without an origin', () => {
    const reached = new Set<LifecycleState>(['absent'])
    for (const state of reached) for (const event of EVENTS) reached.add(nextState(state, event) ?? state)
    expect([...reached].toSorted()).toEqual([...LIFECYCLE_STATES].toSorted())
    const back = new Set<LifecycleState>(['absent'])
    for (let size = 0; size !== back.size;) {
      size = back.size
      for (const state of LIFECYCLE_STATES) if (EVENTS.some((event) => back.has(nextState(state, event) as LifecycleState))) back.add(state)
    }
    expect([...back].toSorted()).toEqual([...LIFECYCLE_STATES].toSorted())
    expect(EVENTS.filter((event) => statesBefore(event).length === 0)).toEqual([])
  })

  test('is documented as it is', () => {
    const page = readFileSync(new URL('../../../../docs/attachment-lifecycle.md', import.meta.url), 'utf8')
    const section = page.split(/^## /m).find((part) => part.startsWith('On the DPU'))!
    const drawn = [...section.matchAll(/^  (\w+) --> (\w+): (\w+)$/gm)].map(([, from, to, event]) => `${from} ${event} ${to}`)
    const listed = [...section.matchAll(/^\| `(\w+)`/gm)].map(([, state]) => state)
    const coded = LIFECYCLE_STATES.flatMap((state) =>
      EVENTS.flatMap((event) => {
        const to = nextState(state, event)
        return to === undefined ? [] : [`${state} ${event} ${to}`]
      }),
    )
    expect(drawn.toSorted()).toEqual(coded.toSorted())
    expect(listed).toEqual(LIFECYCLE_STATES)
  })
})
