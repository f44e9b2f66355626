import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { OffloadError } from '@cni-offload/sdk'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { SqliteJournal } from '../../src/journal/sqlite-journal.ts'
import { call, key } from '../support/bench.ts'
import { TestClock } from '../support/clock.ts'
import { FakeNetwork } from '../support/fakes.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'agent-journal-'))
})
afterEach(() => {
  rmSync(dir, { recursive: true, force: true })
})

const file = (): string => join(dir, 'deep', 'journal.db')
const open = (): SqliteJournal => new SqliteJournal(file(), new TestClock())
const thrown = (work: () => unknown): OffloadError => {
  try {
    work()
  } catch (error) {
    if (OffloadError.is(error)) return error
    throw error
  }
  throw new Error('it did not throw')
}

describe('the journal', () => {
  test('keeps every state over a reopening', () => {
    const result = new FakeNetwork().newResult()
    {
      using journal = open()
      journal.begin(call('a', 0), 'port0', '*/fake')
      journal.begin(call('b', 1), 'port1', '*/fake')
      journal.attached(key('b'), result)
      journal.begin(call('c', 2), 'port2', '*/fake')
      journal.attached(key('c'), result)
      journal.detaching(key('c'))
    }
    using journal = open()
    expect(journal.all().map(({ key: { containerId }, state, port, result: kept }) => ({ containerId, state, port, kept }))).toEqual([
      { containerId: 'a', state: 'attaching', port: 'port0', kept: undefined },
      { containerId: 'b', state: 'attached', port: 'port1', kept: result },
      { containerId: 'c', state: 'detaching', port: 'port2', kept: result },
    ])
    expect(journal.counts()).toEqual({ attaching: 1, attached: 1, detaching: 1 })
    expect(journal.get(key('b'))?.request).toEqual(call('b', 1))
    expect(thrown(() => journal.assertFree({ device: 'card', index: 1 }, key('a'))).message).toContain('podnet/b/eth0')
    expect(journal.get(key('b', 'other'))).toBeUndefined()
    journal.assertFree({ device: 'card', index: 7 }, key('a'))
    journal.assertFree({ device: 'card', index: 1 }, key('b'))
  })

  test('gives a VF to one attachment at a time, in every state', () => {
    using journal = open()
    journal.begin(call('a', 0), 'port0', '*/fake')
    for (const step of [
      () => undefined,
      () => journal.attached(key('a'), new FakeNetwork().newResult()),
      () => journal.detaching(key('a')),
    ]) {
      step()
      const error = thrown(() => journal.begin(call('b', 0), 'port0', '*/fake'))
      expect(error.code).toBe('ALREADY_EXISTS')
      expect(error.message).toContain('podnet/a/eth0')
      expect(error.message).toContain('card/0')
      expect(journal.get(key('b'))).toBeUndefined()
    }
    journal.remove(key('a'))
    journal.begin(call('b', 0), 'port0', '*/fake')
    expect(journal.get(key('b'))?.vf).toEqual({ device: 'card', index: 0 })
  })

  test('renewed writes request, port and answer at once, only of what is attached', () => {
    using journal = open()
    const [first, second] = [new FakeNetwork().newResult(), { ...new FakeNetwork().newResult(), mtu: 1400 }]
    expect(thrown(() => journal.renewed(call('a', 0), 'port0', first, '*/fake')).code).toBe('JOURNAL_FAILURE')
    journal.begin(call('a', 0), 'port0', '*/fake')
    expect(thrown(() => journal.renewed(call('a', 0), 'port0', first, '*/fake')).code).toBe('JOURNAL_FAILURE')
    journal.attached(key('a'), first)
    const before = journal.get(key('a'))!
    const again = call('a', 0, { vlan: 7 })
    journal.renewed(again, 'renamed0', second, '*/fake')
    const after = journal.get(key('a'))!
    expect(after).toMatchObject({ state: 'attached', port: 'renamed0', request: again, result: second })
    expect(after.revision).toBeGreaterThan(before.revision)
  })

  test('every change gets a revision of its own, over reopenings too', () => {
    const seen: number[] = []
    for (const name of ['a', 'b']) {
      using journal = open()
      const note = (): void => void seen.push(journal.get(key(name))!.revision)
      journal.begin(call(name, name === 'a' ? 0 : 1), 'port', '*/fake')
      note()
      journal.attached(key(name), new FakeNetwork().newResult())
      note()
      journal.detaching(key(name))
      note()
    }
    expect(seen).toEqual([...new Set(seen)].toSorted((a, b) => a - b))
    expect(seen).toHaveLength(6)
  })

  test('a second agent on the same file is refused', () => {
    using _first = open()
    const error = thrown(open)
    expect(error.code).toBe('JOURNAL_FAILURE')
    expect(error.hint).toContain('the other agent')
  })

  test('a file of a newer agent is refused and left alone', () => {
    open()[Symbol.dispose]()
    const db = new DatabaseSync(file())
    db.exec('PRAGMA user_version = 99')
    db.close()
    expect(thrown(open).message).toContain('schema version 99')
  })

  test('what is no journal is set aside, and the journal begins empty', () => {
    open()[Symbol.dispose]()
    writeFileSync(file(), 'this is no database, and it is long enough to be looked at')
    using journal = open()
    expect(journal.all()).toEqual([])
    expect(readFileSync(journal.setAside!.path, 'utf8')).toContain('this is no database')
  })

  test('a closed journal refuses instead of crashing, and closing twice is fine', () => {
    const journal = open()
    journal[Symbol.dispose]()
    journal[Symbol.dispose]()
    expect(thrown(() => journal.all()).code).toBe('JOURNAL_FAILURE')
    expect(thrown(() => journal.begin(call('a', 0), 'port0', '*/fake')).code).toBe('JOURNAL_FAILURE')
  })

  test('a journal with a damaged result is set aside, and the field named', () => {
    {
      using journal = open()
      journal.begin(call('a', 0), 'port0', '*/fake')
      journal.attached(key('a'), new FakeNetwork().newResult())
    }
    const db = new DatabaseSync(file())
    db.exec(`UPDATE attachments SET result = '{"mac":"x"}'`)
    db.close()
    using journal = open()
    expect(journal.all()).toEqual([])
    expect(journal.setAside?.reason).toContain('mac')
  })
})
