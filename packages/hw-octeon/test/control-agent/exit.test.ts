import { describe, expect, it } from 'vitest'
import { AgentTrace, explainAgentExit, parseAgentLine } from '../../src/index.ts'

const explain = (exitCode: number | null, exitSignal: string | null = null, ...lines: readonly string[]) => {
  const trace = new AgentTrace()
  for (const line of lines) trace.note(parseAgentLine(line))
  return explainAgentExit({ exitCode, exitSignal }, trace)
}

const SOC = 'SOC: Model: cn10ka_a0'

describe('explainAgentExit', () => {
  it.each([
    [0, 'retry'],
    [129, 'retry'],
    [137, 'give-up'],
    [139, 'retry'],
    [143, 'retry'],
    [189, 'retry-slowly'],
    [234, 'give-up'],
    [237, 'rebind'],
    [244, 'retry-slowly'],
    [245, 'retry-slowly'],
    [251, 'retry-slowly'],
    [255, 'give-up'],
    [1, 'retry-slowly'],
  ])('wants of exit code %i: %s', (code, remedy) => {
    expect(explain(code)).toMatchObject({ remedy, text: expect.stringMatching(/./) as string, hint: expect.stringMatching(/./) as string })
  })

  it('tells a chip that is not known from SIGKILL, which has the same number', () => {
    expect(explain(null, 'SIGKILL')).toMatchObject({ remedy: 'retry', text: 'it was ended by SIGKILL' })
    expect(explain(137, null, SOC)).toMatchObject({ remedy: 'retry', text: 'it was killed (SIGKILL, told by what started it)' })
    expect(explain(137).remedy).toBe('give-up')
  })

  it('tells options that are not known from a link that could not be set up, which have the same code', () => {
    expect(explain(255, null, SOC, 'CNXK: Failed to map mailbox memory').remedy).toBe('retry-slowly')
    expect(explain(255, null, 'CNXK: Invalid option.').remedy).toBe('give-up')
    expect(explain(255, null, 'CNXK: Invalid PEM device BDF').remedy).toBe('give-up')
  })

  it('says what the agent has complained about, and the remedy for that first', () => {
    expect(explain(237, null, 'CNXK: VFIO Group is not viable')).toEqual({
      remedy: 'rebind',
      text: 'it could not open a function of the card (ENODEV); it complained about: vfio-group-not-viable',
      hint: 'another function of the same IOMMU group has a driver of the kernel: bind all of that group to vfio-pci',
    })
    expect(explain(234, null, 'APP: /c.cfg:0 - file I/O error', 'APP: /c.cfg:9 - later').text).toBe(
      'it cannot use its configuration: /c.cfg:0: file I/O error',
    )
  })
})
