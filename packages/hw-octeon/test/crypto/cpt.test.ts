import { OffloadError, systemClock } from '@cni-offload/sdk'
import { describe, expect, it } from 'vitest'
import { CptEngine, enableCpt, proveCpt, readCptBlocks, sumOfCounters, takeCptSnapshot, tryInline } from '../../src/crypto/index.ts'
import { association, CPT, cryptoText, SOFT, usingCpt, usingCpu } from '../support/crypto-entries.ts'
import { counterText, faultText } from '../support/counter-text.ts'
import { MemoryMachine } from '../support/memory-machine.ts'
import { cptMachine, FOLDER, PF, VF } from './cpt-machine.ts'

const signal = (): AbortSignal => AbortSignal.timeout(60_000)
const opened = async (machine: MemoryMachine, associations = [association(1n)]): Promise<CptEngine> => {
  const engine = await CptEngine.open({ machine, associations: () => associations })
  if (engine === undefined) throw new Error('no engine')
  return engine
}

describe('the crypto engine', () => {
  it('is none where there is no CPT', async () => {
    expect(await CptEngine.open({ machine: new MemoryMachine(), associations: () => [] })).toBeUndefined()
  })

  it('counts requests and faults, and nothing that it does not know', async () => {
    const machine = cptMachine()
    const engine = await opened(machine)
    expect(await engine.counters()).toEqual({ requests: 71n, errors: 0n })
    machine.files.set(`${FOLDER}/cpt_pc`, counterText((1n << 63n) + 1n, { latency: 1n }))
    machine.files.set(`${FOLDER}/cpt_err_info`, faultText('0x3'))
    expect(await engine.counters()).toEqual({ requests: (1n << 63n) + 1n, errors: 2n })
  })

  it('counts all blocks of the card, of either family', async () => {
    const machine = cptMachine()
    const at = (root: string, block: string): string => `/sys/kernel/debug/${root}/${block}/cpt_pc`
    machine.files.set(at('cn10k', 'cpt1'), counterText(9n))
    expect(await (await opened(machine)).counters()).toEqual({ requests: 80n, errors: 0n })
    const older = new MemoryMachine({ [at('octeontx2', 'cpt')]: counterText(5n) })
    const blocks = await readCptBlocks(older)
    expect(sumOfCounters(blocks).requests).toBe(5n)
    expect(blocks[0]).toMatchObject({ folder: '/sys/kernel/debug/octeontx2/cpt', faults: undefined, engines: {} })
  })

  it('takes part as the kernel uses it by then', async () => {
    const machine = cptMachine()
    const engine = await opened(machine, [])
    expect(engine.offload).toBe('none')
    await enableCpt(machine, { signal: signal(), clock: systemClock })
    await engine.counters()
    expect(engine.offload).toBe('lookaside')
  })

  it('takes no part in associations that began without it', async () => {
    const machine = cptMachine()
    machine.files.set('/proc/crypto', cryptoText(SOFT, CPT, usingCpu(1)))
    expect((await opened(machine)).offload).toBe('none')
    machine.files.set('/proc/crypto', cryptoText(SOFT, CPT, usingCpt(1)))
    expect((await opened(machine)).offload).toBe('lookaside')
  })

  it('says why, and what it is', async () => {
    const machine = cptMachine()
    await enableCpt(machine, { signal: signal(), clock: systemClock })
    const engine = await opened(machine, [])
    expect(await engine.describe()).toMatchObject({
      offload: 'lookaside',
      algorithms: ['rfc4106(gcm(aes))'],
      because: ['new associations with rfc4106(gcm(aes)) get CPT', 'there are no associations'],
      silicon: 'CN106xx A1',
      functions: [{ pf: PF, kernelVfs: [VF], otherVfs: [] }],
      inline: { answer: 'no', because: 'CN106xx A1 has none: the driver wants CN106xx B0 or CN103xx' },
      counters: { requests: 71n },
      meanLatency: 5000n,
      faults: '',
      missing: [],
    })
    machine.refused.set(`${FOLDER}/cpt_pc`, 'EACCES')
    expect(await engine.describe()).toMatchObject({ counters: undefined, missing: [expect.stringContaining('EACCES')] })
  })

  it('says why it cannot be read', async () => {
    const machine = cptMachine()
    const engine = await opened(machine)
    machine.refused.set(`${FOLDER}/cpt_pc`, 'EACCES')
    await expect(engine.counters()).rejects.toMatchObject({ code: 'PERMISSION_DENIED', hint: expect.stringContaining('locked down') })
    machine.files.delete(`${FOLDER}/cpt_pc`)
    await expect(engine.counters()).rejects.toMatchObject({ code: 'NOT_READY', message: expect.stringContaining('cpt_pc') })
    for (const path of machine.files.keys()) if (path.startsWith('/sys/kernel/debug')) machine.files.delete(path)
    await expect(engine.counters()).rejects.toMatchObject({ code: 'NOT_READY', hint: expect.stringContaining('mount -t debugfs') })
    machine.files.set('/sys/kernel/debug/tracing/README', '')
    await expect(engine.counters()).rejects.toMatchObject({ code: 'NOT_READY', hint: expect.stringContaining('rvu_af') })
  })

  it('says what it can without the right to read associations', async () => {
    const machine = cptMachine()
    await enableCpt(machine, { signal: signal(), clock: systemClock })
    const engine = await CptEngine.open({
      machine,
      associations: () => {
        throw new OffloadError('PERMISSION_DENIED', 'not for you')
      },
    })
    expect(engine?.offload).toBe('lookaside')
  })
})

describe('a proof', () => {
  it('is made of two looks, of which the engine is read around the associations', async () => {
    const machine = cptMachine()
    machine.files.set('/proc/crypto', cryptoText(SOFT, CPT, usingCpt(1)))
    machine.files.set(`${FOLDER}/cpt_pc`, counterText(100n))
    let packets = 0n
    const read = (): ReturnType<typeof takeCptSnapshot> =>
      takeCptSnapshot({
        machine,
        clock: systemClock,
        associations: () => {
          // Traffic does not wait until everything is read.
          machine.files.set(`${FOLDER}/cpt_pc`, counterText(100n + (packets += 5n)))
          return [association(packets)]
        },
      })
    const [before, after] = [await read(), await read()]
    // Five of each look: whichever of the two was read first, no packet is held against CPT that it was asked for.
    expect(proveCpt({ before, after, sent: 5n })).toMatchObject({ packets: 5n, requests: 10n, verdict: 'yes' })
  })
})

describe('trying inline', () => {
  const accepting = (accepted: (line: string) => boolean): MemoryMachine => {
    const machine = new MemoryMachine()
    machine.onRun = (line) =>
      line.startsWith('ip xfrm state delete') || accepted(line) ? {} : { exitCode: 2, stderr: 'RTNETLINK answers: Invalid argument\n' }
    return machine
  }

  it('tells what is taken, and leaves nothing behind', async () => {
    const machine = accepting((line) => line.includes('offload crypto dev enP2p2s0 dir out'))
    const trials = await tryInline(machine, 'enP2p2s0', signal())
    expect(trials.map(({ mode, direction, accepted }) => `${mode} ${direction} ${accepted}`)).toEqual([
      'packet out false',
      'packet in false',
      'crypto out true',
      'crypto in false',
    ])
    expect(trials[0]?.reason).toBe('RTNETLINK answers: Invalid argument')
    const spi = (verb: string): (string | undefined)[] =>
      machine.ran.filter((line) => line.startsWith(`ip xfrm state ${verb}`)).map((line) => / spi (\S+)/.exec(line)?.[1])
    expect(spi('delete')).toEqual([spi('add')[2]])
    expect(new Set(spi('add')).size).toBe(4)
  })

  it('says which association stays, if one does', async () => {
    const machine = new MemoryMachine()
    machine.onRun = (line) => (line.startsWith('ip xfrm state delete') ? { exitCode: 2, stderr: 'no\n' } : {})
    await expect(tryInline(machine, 'eth9', signal())).rejects.toMatchObject({
      code: 'KERNEL_REFUSED',
      hint: expect.stringMatching(/^Remove it: ip xfrm state delete src 192\.0\.2\.1 .* spi 0x80/) as string,
    })
  })

  it('needs iproute2', async () => {
    await expect(tryInline(new MemoryMachine(), 'eth9', signal())).rejects.toMatchObject({ code: 'NOT_READY' })
  })
})
