import { type CniVerb, CNI_VERSIONS, parseEnvironment, parseNetconf } from '@cni-offload/sdk/cni'
import { cniName, ERROR_CODES, interfaceName, OffloadError } from '@cni-offload/sdk'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SUPPORTED_VERSIONS } from '../src/answers.ts'
import { attachmentProblem, isInterfaceName, isName, netconfProblem } from '../src/validate.ts'

const codeOf = (fn: () => unknown): number | undefined => {
  try {
    fn()
    return undefined
  } catch (error) {
    if (OffloadError.is(error)) return ERROR_CODES[error.code].cni
    throw error
  }
}

const odd = fc.constantFrom(
  '',
  '.',
  '..',
  'a',
  'a\n',
  'é',
  'a b',
  '\u00a0',
  '\u0085',
  '\u2028',
  '\ufeff',
  '\u180e',
  '\0',
  'eth%d',
  '1.1.0',
  'a'.repeat(15),
  'a'.repeat(1025),
)
const text = fc.oneof(fc.string({ maxLength: 16 }), fc.string({ unit: 'binary', maxLength: 8 }), odd)
const verb = fc.constantFrom<CniVerb>('ADD', 'DEL', 'CHECK', 'GC', 'STATUS')

describe('the verdict without a daemon is the verdict of the SDK', () => {
  it('on versions', () => {
    expect(SUPPORTED_VERSIONS).toEqual(CNI_VERSIONS)
  })

  it('on names', () => {
    fc.assert(
      fc.property(text, (name) => {
        expect(isName(name)).toBe(cniName.safeParse(name).success)
        expect(isInterfaceName(name)).toBe(interfaceName.safeParse(name).success)
      }),
      { numRuns: 2000 },
    )
    for (let code = 0; code < 0x10000; code++) {
      const name = `a${String.fromCharCode(code)}`
      if (isInterfaceName(name) !== interfaceName.safeParse(name).success) expect.fail(`interface name with U+${code.toString(16)}`)
    }
  })

  it('on environments', () => {
    const part = fc.oneof(
      text.filter((value) => value !== ''),
      fc.constantFrom('c1', 'eth0', '/run/netns/x'),
    )
    fc.assert(
      fc.property(verb, part, part, part, (command, id, ifName, netns) => {
        const env = { CNI_COMMAND: command, CNI_CONTAINERID: id, CNI_IFNAME: ifName, CNI_NETNS: netns }
        expect(attachmentProblem(command, id, ifName, netns) === '' ? undefined : 4).toBe(codeOf(() => parseEnvironment(env)))
      }),
      { numRuns: 500 },
    )
  })

  it('on configurations', () => {
    const value = fc.oneof(fc.jsonValue({ maxDepth: 1 }), text, fc.constantFrom(...CNI_VERSIONS, 'pods', null))
    const config = fc.record({ name: value, cniVersion: value, type: value }, { requiredKeys: [] })
    const stdin = fc.oneof(
      config.map((fields) => JSON.stringify(fields)),
      fc.json({ maxDepth: 1 }),
      fc.string(),
    )
    fc.assert(
      fc.property(verb, stdin, (command, given) => {
        expect(netconfProblem(command, given)?.code).toBe(codeOf(() => parseNetconf(given, command)))
      }),
      { numRuns: 3000 },
    )
  })
})
