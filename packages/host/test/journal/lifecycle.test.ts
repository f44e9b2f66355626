import { readFileSync } from 'node:fs'
import { systemClock, type VfId } from '@cni-offload/sdk'
import { describe, expect, it } from 'vitest'
import { LEASE_STATES, type LeaseEvent, type LeaseState, nextState, statesBefore } from '../../src/journal/lifecycle.ts'
import { SqliteJournal } from '../../src/journal/sqlite-journal.ts'
import type { AttachmentJournal } from '../../src/journal/types.ts'
import { end, endPartly, leaseOf, RESULT, vfsOf, wire } from '../support/row.ts'

const LATER = { release: false, detach: true, reason: 'agent away' }
const { intent } = leaseOf('a')
const { key } = intent
const VF: VfId = { device: 'dev0', index: 0 }

/** Brings the only VF of a journal to a state. */
const REACH: Readonly<Record<LeaseState, (journal: AttachmentJournal) => void>> = {
  free: () => {},
  leased: (journal) => void journal.lease(leaseOf('a')),
  attached: (journal) => journal.attached(journal.lease(leaseOf('a')).key, RESULT),
  wired: (journal) => void wire(journal, leaseOf('a')),
  detaching: (journal) => journal.detaching(journal.lease(leaseOf('a')).key),
  quarantined: (journal) => endPartly(journal, journal.lease(leaseOf('a')).key, LATER),
  withheld: (journal) => void journal.withhold(VF),
}

/** Lets an event happen. @returns false if the journal says so by its answer */
const HAPPEN: Readonly<Record<LeaseEvent, (journal: AttachmentJournal) => boolean | void>> = {
  lease: (journal) => void journal.lease(leaseOf('a')),
  addressed: (journal) => journal.addressed(key, RESULT),
  attached: (journal) => journal.attached(key, RESULT),
  wired: (journal) => journal.wired(key),
  renewed: (journal) => journal.renewed(key, RESULT),
  detaching: (journal) => journal.detaching(key),
  free: (journal) => journal.free(key),
  quarantine: (journal) => journal.quarantine(key, LATER),
  progress: (journal) => journal.progress(1, LATER),
  finish: (journal) => journal.finish(1),
  withhold: (journal) => journal.withhold(VF),
  readmit: (journal) => journal.readmit(VF),
  adopt: (journal) => journal.adopt({ intent, vf: VF, result: RESULT, bootId: 'boot-1' }),
}

/** These may find the VF in any state, and answer whether they did anything. */
const ANSWERING: readonly LeaseEvent[] = ['withhold', 'readmit', 'adopt']

const stateOf = (journal: AttachmentJournal): LeaseState => {
  const [row] = journal.all()
  const [vf] = journal.vfs()
  if (row !== undefined) return row.phase
  if (vf?.state === 'leased') throw new Error('leased to nobody')
  if (vf?.state === 'free') return 'free'
  return journal.queue().length === 0 ? 'withheld' : 'quarantined'
}

const EVENTS = Object.keys(HAPPEN) as LeaseEvent[]

describe('the lifecycle', () => {
  it.each(LEASE_STATES.flatMap((state) => EVENTS.map((event) => ({ state, event, to: nextState(state, event) }))))(
    'is what the journal keeps to: $event while $state leads to $to',
    ({ state, event, to }) => {
      using journal = new SqliteJournal(':memory:', systemClock)
      journal.syncVfs(vfsOf(1))
      REACH[state](journal)
      expect(stateOf(journal)).toBe(state)
      const before = [journal.all(), journal.vfs(), journal.queue()]
      if (to !== undefined) {
        expect(HAPPEN[event](journal) ?? true).toBe(true)
        expect(stateOf(journal)).toBe(to)
        return
      }
      if (ANSWERING.includes(event)) expect(HAPPEN[event](journal)).toBe(false)
      else expect(() => HAPPEN[event](journal)).toThrow(event === 'lease' ? /exists already|no VF is free/ : `"${event}" is refused`)
      expect([journal.all(), journal.vfs(), journal.queue()], 'nothing is half written').toEqual(before)
    },
  )

  it('tells who, where it stands, and what would have been possible', () => {
    using journal = new SqliteJournal(':memory:', systemClock)
    journal.syncVfs(vfsOf(1))
    wire(journal, leaseOf('a'))
    expect(() => journal.free(key)).toThrow(
      expect.objectContaining({
        code: 'JOURNAL_FAILURE',
        message: 'journal :memory:: attachment net/a/eth0 is wired: "free" is refused, it may follow detaching only',
      }),
    )
    end(journal, key)
    expect(() => journal.wired(key)).toThrow('attachment net/a/eth0 is not there: "wired" is refused, it may follow attached only')
    expect(() => journal.finish(7)).toThrow('clean-up 7 is not there: "finish" is refused, it may follow quarantined only')
  })

  it('has no state that cannot be reached or left, and no event without an origin', () => {
    const reached = new Set<LeaseState>(['free'])
    for (const state of reached) for (const event of EVENTS) reached.add(nextState(state, event) ?? state)
    expect([...reached].toSorted()).toEqual([...LEASE_STATES].toSorted())
    const back = new Set<LeaseState>(['free'])
    for (let size = 0; size !== back.size;) {
      size = back.size
      for (const state of LEASE_STATES) if (EVENTS.some((event) => back.has(nextState(state, event) as LeaseState))) back.add(state)
    }
    expect([...back].toSorted()).toEqual([...LEASE_STATES].toSorted())
    expect(EVENTS.filter((event) => statesBefore(event).length === 0)).toEqual([])
  })

  it('is documented as it is', () => {
    const page = readFileSync(new URL('../../../../docs/attachment-lifecycle.md', import.meta.url), 'utf8')
    const section = page.split(/^## /m).find((part) => part.startsWith('On the host'))!
    const drawn = [...section.matchAll(/^  (\w+) --> (\w+): (\w+)$/gm)].map(([, from, to, event]) => `${from} ${event} ${to}`)
    const listed = [...section.matchAll(/^\| `(\w+)`/gm)].map(([, state]) => state)
    const coded = LEASE_STATES.flatMap((state) =>
      EVENTS.flatMap((event) => {
        const to = nextState(state, event)
        return to === undefined ? [] : [`${state} ${event} ${to}`]
      }),
    )
    expect(drawn.toSorted()).toEqual(coded.toSorted())
    expect(listed).toEqual(LEASE_STATES)
  })
})
