/** One requirement of a compliance kit. It is a plain function, so that it runs under any test runner or none. */
export interface ComplianceCase<F> {
  /** Stable id, `release.renamed`: known failures and reports refer to it. */
  readonly id: string
  /** The requirement as a sentence. */
  readonly title: string
  /** How many times longer than others it may take. @defaultValue 1 */
  readonly patience?: number
  /**
   * Resolves if the fixture meets the requirement.
   *
   * @throws an AssertionError that says what was expected; {@link CaseSkipped} if the fixture cannot show it
   */
  run(fixture: F): Promise<void>
}

/** Thrown by a case that cannot be decided on this fixture, for example because the hardware cannot do what it is about. */
export class CaseSkipped extends Error {
  override readonly name = 'CaseSkipped'
}
