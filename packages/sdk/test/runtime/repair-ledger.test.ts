import { describe, expect, it } from 'vitest'
import { type Clock, type LogFields, type RepairRecord, repairRecord, silentLogger } from '../../src/index.ts'
import { RepairLedger, type RepairLimits } from '../../src/runtime/index.ts'

const KEY = { network: 'net', containerId: 'c1', ifName: 'eth0' }
const ID = 'net/c1/eth0'
const REPAIRED = { key: KEY, action: 'reattach', found: ['gone'], outcome: 'repaired' } as const
const LIMITS: RepairLimits = { repairBurst: 2, repairEveryMs: 100, repairPauseMs: 1_000, repairPauseMaxMs: 8_000 }

const start = (more: Partial<RepairLimits> & { keep?: number } = {}) => {
  const time = { now: 5_000 }
  const clock: Clock = { now: () => 1_700_000_000_000 + time.now, monotonic: () => time.now, sleep: () => Promise.resolve() }
  const observed: RepairRecord[] = []
  const logged: [string, LogFields, string][] = []
  const log = {
    ...silentLogger,
    warn: (fields: LogFields, message: string) => void logged.push(['warn', fields, message]),
    error: (fields: LogFields, message: string) => void logged.push(['error', fields, message]),
  }
  const { keep, ...limits } = more
  const observe = (record: RepairRecord): void => void observed.push(record)
  const ledger = new RepairLedger({ clock, limits: { ...LIMITS, ...limits }, log, observe, ...(keep === undefined ? {} : { keep }) })
  return { ledger, time, observed, logged }
}

describe('RepairLedger', () => {
  it('takes drift for real when two looks in a row have found it', () => {
    const { ledger } = start()
    expect(ledger.confirms(ID)).toBe(false)
    expect(ledger.confirms('other')).toBe(false)
    expect(ledger.confirms(ID)).toBe(true)
    ledger.fine(ID)
    expect(ledger.confirms(ID)).toBe(false)
    ledger.repaired(ID, REPAIRED)
    expect(ledger.confirms(ID), 'after a repair it is looked at anew').toBe(false)
  })

  it('gives a burst of repairs, then one after each while, and never saves up more', () => {
    const { ledger, time } = start()
    const granted = (): number => ['a', 'b', 'c', 'd'].filter((subject) => ledger.mayRepair(subject)).length
    expect(granted()).toBe(2)
    expect(granted()).toBe(0)
    time.now += 99
    expect(granted()).toBe(0)
    time.now += 1
    expect(granted()).toBe(1)
    time.now += 1_000_000
    expect(granted()).toBe(2)
  })

  it('lets one thing pause, twice as long after each repair, and begins anew when it was fine for long', () => {
    const { ledger, time } = start({ repairBurst: 100 })
    const pauses: number[] = []
    for (let round = 0; round < 6; round++) {
      ledger.repaired(ID, REPAIRED)
      const from = time.now
      ledger.fine(ID)
      time.now += 500
      ledger.confirms(ID)
      while (!ledger.mayRepair(ID)) time.now += 500
      pauses.push(time.now - from)
    }
    expect(pauses).toEqual([1_000, 2_000, 4_000, 8_000, 8_000, 8_000])
    expect(ledger.records.map(({ times }) => times)).toEqual([1, 2, 3, 4, 5, 6])
    expect(ledger.mayRepair('another')).toBe(true)
    ledger.fine(ID)
    time.now += 8_000
    ledger.fine(ID)
    ledger.repaired(ID, REPAIRED)
    expect(ledger.records.at(-1)?.times).toBe(1)
  })

  it('reports the same thing once, until it was fine or is another one', () => {
    const { ledger, observed } = start()
    const report = (...found: string[]): void => ledger.report(ID, { key: KEY, found })
    report('stray')
    report('stray')
    report('stray', 'and more')
    ledger.fine(ID)
    report('stray', 'and more')
    expect(observed.map(({ found, outcome, action }) => [found.join(), outcome, action])).toEqual([
      ['stray', 'reported', 'report'],
      ['stray,and more', 'reported', 'report'],
      ['stray,and more', 'reported', 'report'],
    ])
  })

  it('notes, logs and tells each repair, and says that a thing keeps coming back', () => {
    const { ledger, observed, logged } = start()
    ledger.repaired(ID, REPAIRED)
    ledger.repaired(ID, { ...REPAIRED, outcome: 'failed', reason: 'busy' })
    const second = {
      at: 1_700_000_005_000,
      subject: ID,
      key: KEY,
      action: 'reattach',
      found: ['gone'],
      outcome: 'failed',
      reason: 'busy',
      times: 2,
    }
    expect(ledger.records).toEqual(observed)
    expect(observed[1]).toEqual(second)
    expect(repairRecord.parse(second)).toEqual(second)
    expect(logged.map(([level, { key }, message]) => [level, key, message])).toEqual([
      ['warn', ID, 'drift repaired'],
      ['error', ID, 'drift failed, and it keeps coming back'],
    ])
  })

  it('keeps a limited number of records, of limited size, and groups them by attachment', () => {
    const { ledger } = start({ keep: 3 })
    for (const found of ['1', '2', '3', '4']) ledger.repaired(ID, { ...REPAIRED, found: [found.repeat(3_000)] })
    ledger.report('adapter x', { found: ['silent'] })
    expect(ledger.records.map(({ found }) => found[0]?.[0])).toEqual(['3', '4', 's'])
    expect(ledger.records[0]?.found[0]).toHaveLength(1_000)
    expect([...ledger.byAttachment(1)].map(([id, [record]]) => [id, record?.found[0]?.[0]])).toEqual([[ID, '4']])
  })

  it('forgets what nobody has spoken of for long', () => {
    const { ledger, time } = start()
    ledger.confirms(ID)
    time.now += 2 * LIMITS.repairPauseMaxMs + 1
    ledger.confirms('other')
    expect(ledger.confirms(ID)).toBe(false)
  })
})
