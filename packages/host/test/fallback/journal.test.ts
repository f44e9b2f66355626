import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { systemClock } from '@cni-offload/sdk'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SqliteFallbackJournal } from '../../src/fallback/sqlite-fallback-journal.ts'
import { fallbackOf } from '../support/fallbacks.ts'

describe('SqliteFallbackJournal', () => {
  let dir: string
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'fallback-'))
  })
  afterEach(() => rm(dir, { recursive: true }))
  const open = (): SqliteFallbackJournal => new SqliteFallbackJournal(join(dir, 'fallback.db'), systemClock)

  it('has again after a restart what was written, to the letter', () => {
    const [one, two] = [fallbackOf('one'), fallbackOf('two', { reason: 'dpu-down' })]
    {
      using journal = open()
      expect(journal.begin(one)).toMatchObject({ ...one, phase: 'adding' })
      journal.begin(two)
      journal.added(one.key, { cniVersion: '1.0.0', ips: [] })
      journal.end(two.key, 'ADAPTER_FAILED: x')
      journal.end(two.key)
    }
    using journal = open()
    expect(journal.get(one.key)).toMatchObject({ ...one, seq: 1, phase: 'added', result: { cniVersion: '1.0.0', ips: [] } })
    expect(journal.get(two.key)).toMatchObject({ ...two, seq: 2, phase: 'ending', failure: 'ADAPTER_FAILED: x' })
    expect(journal.all().map(({ seq }) => seq)).toEqual([1, 2])
    expect(journal.ending()).toEqual([{ seq: 2, key: two.key }])
    expect(journal.counts()).toEqual({ adding: 0, added: 1, ending: 1 })
  })

  it('holds one row per attachment, and tells when one has vanished', () => {
    using journal = open()
    const { key } = journal.begin(fallbackOf('one'))
    expect(() => journal.begin(fallbackOf('one'))).toThrow(expect.objectContaining({ code: 'ALREADY_EXISTS' }))
    journal.remove(key)
    journal.remove(key)
    expect(journal.get(key)).toBeUndefined()
    expect(() => journal.added(key, {})).toThrow(expect.objectContaining({ code: 'JOURNAL_FAILURE' }))
    expect(() => journal.end(key)).toThrow(expect.objectContaining({ code: 'JOURNAL_FAILURE' }))
    expect(journal.begin(fallbackOf('one')).seq, 'numbers are not given again').toBeGreaterThan(1)
  })

  it('sets a file aside that is no journal, and refuses one of a newer version', async () => {
    const text = 'not a database, but long enough to be taken for one'.repeat(50)
    await writeFile(join(dir, 'fallback.db'), text)
    {
      using journal = open()
      expect(journal.all()).toEqual([])
      expect(await readFile(journal.setAside!.path, 'utf8')).toBe(text)
    }
    using db = new DatabaseSync(join(dir, 'fallback.db'))
    db.exec('PRAGMA user_version = 99')
    db.close()
    expect(open).toThrow(expect.objectContaining({ code: 'JOURNAL_FAILURE', message: expect.stringContaining('version 99') }))
  })
})
