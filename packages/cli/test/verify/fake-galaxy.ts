import { FakeKubectl, type KubectlAnswer, type KubectlRequest, notFound, prints, remoteExit } from '@cni-offload/testing/kubectl'

/** What a ship gets: by ship, method and policy in force. */
export type Physics = (call: {
  readonly from: string
  readonly method: string
  readonly url: string
  readonly policy: string
}) => KubectlAnswer

export const LANDED: KubectlAnswer = prints('Ship landed\n\n200')
export const DENIED: KubectlAnswer = prints('Access denied\r\n\n403')
export const DROPPED: KubectlAnswer = remoteExit(28, '\n000', 'curl: (28) Connection timed out after 10001 milliseconds')

/** As a Cilium in order has it. */
export const LAWFUL: Physics = ({ from, method, policy }) => {
  if (from === 'xwing' && policy !== '') return DROPPED
  return method === 'PUT' && policy === 'L7' ? DENIED : method === 'PUT' ? prints('Panic: deathstar exploded\n\n503') : LANDED
}

const pod = (name: string, node: string, ip: string, labels: object): object => ({
  metadata: { name, labels },
  spec: { nodeName: node },
  status: { phase: 'Running', podIP: ip, conditions: [{ type: 'Ready', status: 'True' }] },
})

export const PODS: readonly object[] = [
  pod('deathstar-a', 'n1', '10.0.1.1', { class: 'deathstar' }),
  pod('deathstar-b', 'n2', 'fd00::2', { class: 'deathstar' }),
  pod('tiefighter', 'n1', '10.0.1.3', { class: 'tiefighter' }),
  pod('xwing', 'n2', '10.0.2.4', { class: 'xwing' }),
]

/** A cluster in which the demo can be deployed, as far as kubectl tells. */
export class FakeGalaxy implements AsyncDisposable {
  readonly kubectl: FakeKubectl
  /** Policy in force: none, `L4` or `L7`. */
  policy = ''
  physics: Physics
  /** Objects that were applied, oldest first. */
  readonly applied: Readonly<Record<string, unknown>>[] = []
  /** Whether the namespace is there. */
  there = false

  private constructor(kubectl: FakeKubectl, physics: Physics) {
    this.kubectl = kubectl
    this.physics = physics
  }

  static async start(physics: Physics = LAWFUL): Promise<FakeGalaxy> {
    return new FakeGalaxy(await FakeKubectl.start(), physics)
  }

  /** Expects all that the demo calls. What was expected before, for a failure for example, goes first. */
  serve(): this {
    const any = { times: 'any' } as const
    this.kubectl
      .expect('get namespace offload-starwars -o json', notFound('namespaces', 'offload-starwars'), any)
      .expect('apply -f -', (request) => this.#apply(request), any)
      .expect('delete ciliumnetworkpolicies.cilium.io landing -n offload-starwars --ignore-not-found', () => this.#lift(), any)
      .expect(({ args }) => args[0] === 'wait' && args[2] === 'offload-starwars', prints('condition met\n'), any)
      .expect('get pods -n offload-starwars -o json', prints({ items: PODS }), any)
      .expect('get service deathstar -n offload-starwars -o json', prints({ spec: { clusterIP: '10.96.0.7' } }), any)
      .expect(
        ({ args }) => args.slice(0, 3).join(' ') === 'exec -n offload-starwars',
        (request) => this.#exec(request),
        any,
      )
      .expect('delete namespace offload-starwars --ignore-not-found --wait=true --timeout=120s', () => this.#remove(), any)
    return this
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kubectl[Symbol.asyncDispose]()
  }

  #apply({ stdin }: KubectlRequest): KubectlAnswer {
    const { items } = JSON.parse(stdin) as { items: Readonly<Record<string, unknown>>[] }
    this.applied.push(...items)
    if (items.some(({ kind }) => kind === 'Namespace')) this.there = true
    if (items.some(({ kind }) => kind === 'CiliumNetworkPolicy')) this.policy = stdin.includes('"http"') ? 'L7' : 'L4'
    return prints('applied\n')
  }

  #lift(): KubectlAnswer {
    this.policy = ''
    return prints('')
  }

  #remove(): KubectlAnswer {
    this.there = false
    return prints('')
  }

  #exec({ args }: KubectlRequest): KubectlAnswer {
    const curl = args.slice(args.indexOf('--') + 1)
    return this.physics({ from: args[3] ?? '', method: curl[curl.indexOf('-X') + 1] ?? '', url: curl.at(-1) ?? '', policy: this.policy })
  }
}
