import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type EnvironmentVariables, parseEnvironment } from '../../src/cni/index.ts'
import { thrown } from '../thrown.ts'

const good = {
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: 'c1',
  CNI_NETNS: '/run/netns/x',
  CNI_IFNAME: 'eth0',
  CNI_ARGS: 'K8S_POD_NAME=web',
  CNI_PATH: '/opt/cni/bin::/usr/lib/cni',
}

const refusal = (env: EnvironmentVariables): string => {
  const error = thrown(() => parseEnvironment(env))
  expect(error.code).toBe('INVALID_ENVIRONMENT')
  return error.message
}

describe('parseEnvironment', () => {
  it('reads all variables', () => {
    expect(parseEnvironment({ ...good, HOME: '/root' })).toEqual({
      verb: 'ADD',
      containerId: 'c1',
      netns: '/run/netns/x',
      ifName: 'eth0',
      args: { K8S_POD_NAME: 'web' },
      path: ['/opt/cni/bin', '/usr/lib/cni'],
    })
  })

  it('names every missing variable, and takes empty for missing', () => {
    expect(refusal({ CNI_COMMAND: 'ADD' })).toBe('required env variables [CNI_CONTAINERID,CNI_IFNAME,CNI_NETNS] missing')
    expect(refusal({ ...good, CNI_COMMAND: 'CHECK', CNI_NETNS: '' })).toBe('required env variables [CNI_NETNS] missing')
    expect(refusal({ CNI_COMMAND: 'DEL', CNI_CONTAINERID: '', CNI_IFNAME: '' })).toBe(
      'required env variables [CNI_CONTAINERID,CNI_IFNAME] missing',
    )
    expect(refusal({})).toBe('required env variables [CNI_COMMAND] missing')
    expect(refusal({ ...good, CNI_COMMAND: '' })).toBe('required env variables [CNI_COMMAND] missing')
  })

  it.each(['add', 'PROBE', 'ADD ', 'toString', '__proto__'])('does not know the verb %j', (verb) => {
    expect(refusal({ ...good, CNI_COMMAND: verb })).toBe(`unknown CNI_COMMAND: ${verb}`)
  })

  it('lets DEL go without a namespace', () => {
    expect(parseEnvironment({ CNI_COMMAND: 'DEL', CNI_CONTAINERID: 'c1', CNI_IFNAME: 'eth0' })).toMatchObject({
      netns: '',
      path: [],
      args: {},
    })
  })

  it.each(['GC', 'STATUS', 'VERSION'])('does not look at the attachment of %s, which runtimes fill with placeholders', (verb) => {
    const env = {
      CNI_COMMAND: verb,
      CNI_CONTAINERID: '../x',
      CNI_NETNS: 'dummy',
      CNI_IFNAME: 'much-too-long-for-an-interface',
      CNI_PATH: 'dummy',
    }
    expect(parseEnvironment(env)).toMatchObject({ verb, path: ['dummy'] })
    expect(parseEnvironment({ CNI_COMMAND: verb })).toMatchObject({ verb })
  })

  it.each(['a', '0', 'A_b.C-9', 'a_.-', 'a'.repeat(200)])('accepts the container id %s', (id) => {
    expect(parseEnvironment({ ...good, CNI_CONTAINERID: id }).containerId).toBe(id)
  })

  it.each(['-a', '.a', '_a', 'a/b', '../x', 'a b', 'a\n', '\na', 'é', 'a:b'])('refuses the container id %j', (id) => {
    expect(refusal({ ...good, CNI_CONTAINERID: id })).toContain('CNI_CONTAINERID')
  })

  it.each(['e', 'eth0', '123456789012345', 'a-b_c.d', 'é', 'ééééééé'])('accepts the interface name %s', (name) => {
    expect(parseEnvironment({ ...good, CNI_IFNAME: name }).ifName).toBe(name)
  })

  it.each(['1234567890123456', 'éééééééé', '.', '..', 'a/b', 'a:b', 'a b', 'a\tb', 'eth0\n', 'a\u00a0b', 'a\u0085b', 'eth%d', 'a\0b'])(
    'refuses the interface name %j',
    (name) => {
      expect(refusal({ ...good, CNI_IFNAME: name })).toContain('CNI_IFNAME')
    },
  )

  it('refuses a relative namespace where it has to be entered', () => {
    expect(refusal({ ...good, CNI_NETNS: 'netns/x' })).toContain('CNI_NETNS = "netns/x": an absolute path')
    expect(parseEnvironment({ ...good, CNI_COMMAND: 'DEL', CNI_NETNS: 'netns/x' }).netns).toBe('netns/x')
  })

  it('either parses or throws INVALID_ENVIRONMENT, whatever it is given', () => {
    const names = fc.constantFrom(...Object.keys(good))
    const value = fc.oneof(fc.string(), fc.constantFrom(...Object.values(good), 'DEL', 'GC'))
    fc.assert(
      fc.property(fc.dictionary(names, value), (env) => {
        try {
          parseEnvironment(env)
        } catch (error) {
          expect(error).toMatchObject({ name: 'OffloadError', code: 'INVALID_ENVIRONMENT' })
        }
      }),
    )
  })
})
