/**
 * Coverage map of `tap run` (.taprc): no coverage, neither of tests nor of the `before` script. It
 * would slow tests down.
 */
process.env._TAPJS_PROCESSINFO_COVERAGE_ = '0';
export default () => null;
