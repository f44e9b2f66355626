import { OffloadError } from '@cni-offload/sdk'
import { describe, expect, it } from 'vitest'
import { type Check, fail, ok, skipped, warn } from '../../src/doctor/check.ts'
import { hasFailed, reportText } from '../../src/doctor/report.ts'
import { runChecks } from '../../src/doctor/run.ts'

const check = (id: string, run: Check['run'], more: Partial<Check> = {}): Check => ({ id, title: `title of ${id}`, run, ...more })
const signal = (): AbortSignal => AbortSignal.timeout(60_000)

describe('checks', { timeout: 120_000 }, () => {
  it('are all run, whatever becomes of some, and told in their order', async () => {
    const results = await runChecks(
      [
        check('hangs', () => new Promise<never>(() => {}), { timeoutMs: 50 }),
        check('throws', () => {
          throw new OffloadError('NOT_READY', 'socket = x: nobody listens', { hint: 'Start it.' })
        }),
        check('rejects', () => Promise.reject(new TypeError('a defect'))),
        check('holds', () => ok('all of it')),
        check('follows', () => ok('also'), { after: ['holds'] }),
        check('follows.failed', () => ok('never'), { after: ['holds', 'throws'] }),
        check('follows.skipped', () => ok('never'), { after: ['follows.failed'] }),
      ],
      { signal: signal() },
    )
    expect(results).toEqual([
      {
        id: 'hangs',
        title: 'title of hangs',
        state: 'fail',
        seen: '',
        why: 'nothing came of it within 50 ms',
        remedy: expect.stringContaining('Run it again') as string,
      },
      { id: 'throws', title: 'title of throws', state: 'fail', seen: '', why: 'socket = x: nobody listens', remedy: 'Start it.' },
      { id: 'rejects', title: 'title of rejects', state: 'fail', seen: '', why: 'a defect', remedy: '' },
      { id: 'holds', title: 'title of holds', state: 'ok', seen: 'all of it', why: '', remedy: '' },
      { id: 'follows', title: 'title of follows', state: 'ok', seen: 'also', why: '', remedy: '' },
      expect.objectContaining({ id: 'follows.failed', state: 'skipped', why: 'throws has to be in order first', blockedBy: 'throws' }),
      expect.objectContaining({ id: 'follows.skipped', state: 'skipped', why: 'follows.failed has to be in order first' }),
    ])
    expect(hasFailed(results)).toBe(true)
  })

  it('that only warn do not hold up those after them, and do not fail the command', async () => {
    const results = await runChecks(
      [
        check('warns', () => warn('1 day', 'soon', 'Renew it.')),
        check('next', () => ok(''), { after: ['warns'] }),
        check('not', () => skipped('no root')),
        check('nor', () => ok(''), { after: ['not'] }),
      ],
      { signal: signal() },
    )
    expect(results.map(({ state }) => state)).toEqual(['warn', 'ok', 'skipped', 'skipped'])
    expect(hasFailed(results)).toBe(false)
    expect(reportText(results)).toBe(
      [
        'WARN  warns  title of warns: 1 day',
        '             soon',
        '             → Renew it.',
        'ok    next   title of next',
        '  –   not    title of not',
        '             no root',
        '',
        '1 in order, 1 to look at, 0 not in order, 2 skipped, 1 of them because of the others',
      ].join('\n'),
    )
  })

  it('are given a signal that ends with their time, and all end when the caller gives up', async () => {
    const seen: boolean[] = []
    const waits = check('waits', (own) => new Promise((_, refuse) => own.addEventListener('abort', () => refuse(own.reason as Error))), {
      timeoutMs: 50,
    })
    const [late] = await runChecks([waits], { signal: signal() })
    expect(late).toMatchObject({ state: 'fail', why: 'nothing came of it within 50 ms' })
    const caller = new AbortController()
    const begun = Promise.withResolvers<void>()
    const looks = check('looks', (own) => {
      begun.resolve()
      return new Promise<never>(() => own.addEventListener('abort', () => seen.push(own.aborted)))
    })
    const running = expect(runChecks([looks], { signal: caller.signal, timeoutMs: 60_000 })).rejects.toMatchObject({ message: 'enough' })
    await begun.promise
    caller.abort(new OffloadError('CANCELLED', 'enough'))
    await running
    expect(seen).toEqual([true])
  })

  it('have different ids, and come only after earlier ones', async () => {
    const run = (): ReturnType<Check['run']> => fail('', '', '')
    await expect(runChecks([check('a', run), check('a', run)], { signal: signal() })).rejects.toMatchObject({ code: 'INTERNAL' })
    await expect(runChecks([check('a', run, { after: ['b'] }), check('b', run)], { signal: signal() })).rejects.toMatchObject({
      code: 'INTERNAL',
    })
  })
})
