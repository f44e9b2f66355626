import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type CptCounters,
  describeFaults,
  faultyRegisters,
  meanLatency,
  parseCptCounters,
  parseEngineStatus,
  parseFaultRegisters,
  parseXfrmStat,
} from '../../src/crypto/index.ts'
import { FaultCount } from '../../src/crypto/fault-count.ts'
import { counterText, faultText, statusText } from '../support/counter-text.ts'

const undecodable = (message: RegExp): unknown =>
  expect.objectContaining({ code: 'UNDECODABLE', message: expect.stringMatching(message) as string })

describe('cpt_pc', () => {
  it('is read as the driver prints it', () => {
    expect(parseCptCounters(counterText(71n, { latency: 359330n }), 'cpt_pc')).toEqual({
      requests: 71n,
      requestLatency: 359330n,
      reads: 2132n,
      readLatency: 413458n,
      microcodeReads: 1648n,
      activeCycles: 5430286n,
      clock: 74709386111n,
    } satisfies CptCounters)
    expect(meanLatency({ requests: 71n, requestLatency: 359330n })).toBe(5061n)
    expect(meanLatency({ requests: 0n, requestLatency: 0n })).toBeUndefined()
  })

  it('keeps all 64 bits of each number', () => {
    fc.assert(
      fc.property(fc.bigInt(0n, (1n << 64n) - 1n), fc.bigInt(1n << 53n, (1n << 64n) - 1n), (requests, clock) => {
        expect(parseCptCounters(counterText(requests, { clock, latency: 1n }), 'cpt_pc')).toMatchObject({ requests, clock })
      }),
    )
  })

  it('may have counters that are not known yet, but none twice, none missing, and no other text', () => {
    const text = counterText(1n)
    expect(parseCptCounters(`${text}CPT dreams of sheep   7\n`, 'f')).toMatchObject({ requests: 1n })
    expect(() => parseCptCounters(`${text}${text}`, 'f')).toThrow(undecodable(/^f:8: "CPT instruction requests.*each counter once/))
    expect(() => parseCptCounters(text.replace(/CPT NCB read latency.*\n/, ''), 'f')).toThrow(undecodable(/no "CPT NCB read latency"/))
    for (const line of ['CPT instruction requests   ', 'CPT instruction requests -1', 'CPT instruction requests 0x1', 'hello'])
      expect(() => parseCptCounters(line, 'f'), line).toThrow(undecodable(/^f:1: /))
    expect(() => parseCptCounters(counterText(1n << 64n), 'f')).toThrow(undecodable(/64 bits/))
  })
})

describe('cpt_err_info', () => {
  it('is read word by word, and tells what shows a fault', () => {
    const registers = parseFaultRegisters(faultText('0xffffffffffffffff'), 'f')
    expect(registers).toHaveLength(6)
    expect(registers[0]).toEqual({ name: 'CPT_AF_FLTX_INT', words: [(1n << 64n) - 1n, 0n] })
    expect(describeFaults(faultyRegisters(registers))).toBe('CPT_AF_FLTX_INT 0xffffffffffffffff 0x0')
    expect(faultyRegisters(parseFaultRegisters(faultText(), 'f'))).toEqual([])
  })

  it('is nothing else', () => {
    expect(() => parseFaultRegisters('', 'f')).toThrow(undecodable(/no "CPT_AF_FLTX_INT"/))
    expect(() => parseFaultRegisters('CPT_AF_FLTX_INT:\n', 'f')).toThrow(undecodable(/^f:1: /))
    expect(() => parseFaultRegisters('CPT_AF_FLTX_INT: 12', 'f')).toThrow(undecodable(/^f:1: /))
  })

  it('shows faults, which are counted when they appear, per block', () => {
    const count = new FaultCount()
    const reading = (block: string, word: bigint) => ({ block, name: 'CPT_AF_FLTX_INT', words: [word, 0n] })
    expect(count.add([reading('cpt', 0b101n), reading('cpt1', 0n)])).toBe(2n)
    expect(count.add([reading('cpt', 0b101n), reading('cpt1', 0b1n)])).toBe(3n)
    expect(count.add([reading('cpt', 0n), reading('cpt1', 0b1n)])).toBe(3n)
    expect(count.add([reading('cpt', 0b100n), reading('cpt1', 0b1n)])).toBe(4n)
  })
})

describe('the state of engines', () => {
  it('is read as older drivers print it', () => {
    expect(parseEngineStatus(statusText, 'f')).toEqual({ free: 0xfffen, busy: 1n, engines: undefined })
  })

  it('is read as newer ones do, range by range', () => {
    const line = (kind: string, first: number, last: number, word: string): string =>
      `${kind} STS : Engines ${first} to ${last} \t: ${word}\n`
    expect(parseEngineStatus(line('FREE', 32, 47, '0xff00') + line('BUSY', 32, 47, '0x00ff'), 'f')).toEqual({
      free: 0xff00n,
      busy: 0xffn,
      engines: { first: 32, last: 47 },
    })
    const text = line('FREE', 0, 63, '0x1') + line('FREE', 64, 80, '0x2') + line('BUSY', 0, 63, '0x0') + line('BUSY', 64, 80, '0x1')
    expect(parseEngineStatus(text, 'f')).toEqual({ free: (2n << 64n) | 1n, busy: 1n << 64n, engines: { first: 0, last: 80 } })
  })

  it('is nothing else', () => {
    expect(() => parseEngineStatus('FREE STS : 0x1\n', 'f')).toThrow(undecodable(/no "BUSY STS"/))
    expect(() => parseEngineStatus(`${statusText}${statusText}`, 'f')).toThrow(undecodable(/^f:3: .*each kind once/))
    expect(() => parseEngineStatus('FREE STS : 0x11111111111111111\n', 'f')).toThrow(undecodable(/^f:1: /))
  })
})

describe('/proc/net/xfrm_stat', () => {
  it('is read name by name', () => {
    const stat = parseXfrmStat('XfrmInError             \t0\nXfrmOutNoStates         \t18446744073709551615\n')
    expect([...stat]).toEqual([
      ['XfrmInError', 0n],
      ['XfrmOutNoStates', (1n << 64n) - 1n],
    ])
    expect(() => parseXfrmStat('XfrmInError\n')).toThrow(undecodable(/xfrm_stat:1: /))
  })
})
